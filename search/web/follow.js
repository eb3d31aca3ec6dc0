// A job, followed to its end.

import * as api from './api.js';

const NAMES = ['progress', 'done', 'failed', 'cancelled'];
const PAUSE = 1000; // milliseconds

/** Listen to a job; one that is `queued`, or `long`, is asked for each second instead, since a
 * browser holds few connections open, to all of its tabs. show(job): as the API answers, however
 * often; lost(): nothing answers, and it is tried again; gone(problem): the server was started
 * again, and knows nothing of it. What comes back ends it. */
export function follow(id, state, { show, lost, gone, long = false }) {
  let source = null;
  let timer = null;
  let over = false;

  function end() {
    over = true;
    source?.close();
    clearTimeout(timer);
  }

  function listen() {
    source = api.events(id);
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        if (!over) show(JSON.parse(event.data));
      });
    }
    source.addEventListener('error', () => {
      if (over) return;
      lost();
      if (source.readyState === EventSource.CLOSED) later(); // else the browser comes again
    });
  }

  function later() {
    timer = setTimeout(ask, PAUSE);
  }

  async function ask() {
    try {
      const job = await api.job(id);
      if (over) return;
      show(job);
      go(job.state);
    } catch (problem) {
      if (over) return;
      if (problem.status === 404) gone(problem);
      else {
        lost();
        later();
      }
    }
  }

  function go(now) {
    if (over) return;
    if (long || now === 'queued') later();
    else listen();
  }

  go(state);
  return end;
}
