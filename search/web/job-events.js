// Following a job to its end.

import { Problem } from './problems.js';

/** @import { Api, Job } from './api.js' */

const EVENTS = Object.freeze(['progress', 'done', 'failed', 'cancelled']);
const POLL_MS = 1000;

/**
 * What to do while a job is followed.
 * @typedef {object} Callbacks
 * @property {(job: Job) => void} onChange The job as it is now. It may be called with the same job
 *   more than once.
 * @property {() => void} onLost The server does not answer, and is asked again.
 * @property {(problem: Problem) => void} onGone The server was restarted and does not know the job.
 */

/**
 * Follow a job. One that is queued, or long, is polled, since a browser holds few connections open
 * for all of its tabs; another one is followed by its events.
 * @param {Api} api
 * @param {string} id
 * @param {Callbacks} callbacks
 * @param {{ state?: Job['state'], isLong?: boolean }} [options]
 * @returns {() => void} Stops following.
 */
export function followJob(api, id, { onChange, onLost, onGone }, { state = 'running', isLong = false } = {}) {
  /** @type {EventSource | null} */
  let source = null;
  let timer = 0;
  let isOver = false;

  function stop() {
    isOver = true;
    source?.close();
    clearTimeout(timer);
  }

  function listen() {
    const events = api.openEvents(id);
    source = events;
    for (const name of EVENTS) {
      events.addEventListener(name, (event) => {
        if (!isOver) onChange(JSON.parse(event.data));
      });
    }
    events.addEventListener('error', () => {
      if (isOver) return;
      onLost();
      if (events.readyState === EventSource.CLOSED) schedulePoll(); // else the browser connects again
    });
  }

  function schedulePoll() {
    timer = setTimeout(poll, POLL_MS);
  }

  async function poll() {
    try {
      const job = await api.fetchJob(id);
      if (isOver) return;
      onChange(job);
      continueFrom(job.state);
    } catch (error) {
      if (isOver) return;
      if (error instanceof Problem && error.status === 404) onGone(error);
      else {
        onLost();
        schedulePoll();
      }
    }
  }

  /** @param {Job['state']} now */
  function continueFrom(now) {
    if (isOver) return;
    if (isLong || now === 'queued') schedulePoll();
    else listen();
  }

  continueFrom(state);
  return stop;
}
