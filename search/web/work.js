// One job: how far it is, how fast, when it will be done, and what it passed over.

import * as api from './api.js';
import { follow } from './follow.js';
import { byId, leave, node } from './node.js';
import { say } from './words.js';

const ALMOST = 0.99; // the bar is full when all can be found, not before

export class Work {
  /** job: as the API answers; moved(): it went on; over(report): nothing more will happen. */
  constructor(job, { moved, over }) {
    Object.assign(this, { id: job.id, moved, over, share: 0, isOver: false });
    this.bar = node('progress', { max: 1, 'aria-label': say('job_path', { path: job.path }) });
    this.counts = node('p', { class: 'counts' });
    this.rest = node('div', { role: 'status' });
    this.stop = node('button', {
      type: 'button',
      class: 'quiet',
      text: say('cancel'),
      'aria-label': say('cancel_path', { path: job.path }),
      click: () => this.#cancel(),
    });
    const path = node('span', { class: 'path', title: job.path }, node('bdi', { text: job.path }));
    const head = node('div', { class: 'head' }, path, this.stop);
    this.element = node('li', { class: 'work' }, head, this.bar, this.counts, this.rest);
    this.#show(job);
    if (this.isOver) return;
    this.unfollow = follow(job.id, job.state, {
      long: true,
      show: (now) => this.#show(now),
      lost: () => {
        this.counts.textContent = say('job_lost');
      },
      gone: () => this.#gone(),
    });
  }

  /** The server was started again, and knows nothing of it. */
  #gone() {
    this.#show({ state: 'cancelled' });
  }

  #show(job) {
    if (this.isOver) return;
    const { state, progress } = job;
    this.element.dataset.state = state;
    this.share = state === 'done' ? 1 : ALMOST * (progress?.total ? progress.done / progress.total : 0);
    if (state === 'running' && !progress?.total) this.bar.removeAttribute('value');
    else this.bar.value = this.share;
    if (state === 'queued') this.counts.textContent = say('job_queued');
    else if (state === 'running') this.counts.textContent = progress?.total ? this.#pace(progress) : say('job_scan');
    else this.#end(job);
    this.moved();
  }

  /** Counts, rate and time left, from what was done since the first look. */
  #pace({ done, total, phase }) {
    const now = performance.now();
    if (this.phase !== phase) Object.assign(this, { phase, since: now, before: done });
    const said = [say('job_progress', { done, total })];
    const rate = (1000 * (done - this.before)) / (now - this.since);
    if (rate > 0 && Number.isFinite(rate)) {
      said.push(say('job_rate', { n: rate < 10 ? rate : Math.round(rate) }));
      if (done < total) said.push(say('job_left', { time: duration((total - done) / rate) }));
    }
    return said.join(' · ');
  }

  #end({ state, report, error }) {
    this.isOver = true;
    this.unfollow?.();
    leave(this.stop, byId('folders-close'));
    this.stop.remove();
    const last = { done: say('job_done'), cancelled: say('job_cancelled') }[state];
    this.counts.textContent = last ?? say('job_failed');
    if (error) this.rest.append(node('p', { class: 'wrong', text: error }));
    if (report) this.rest.append(...summary(report));
    this.over(report);
  }

  async #cancel() {
    if (this.stop.ariaDisabled) return;
    this.stop.ariaDisabled = 'true';
    try {
      this.#show(await api.cancel(this.id));
    } catch (error) {
      if (error.status === 404) this.#gone();
      this.stop.ariaDisabled = null;
    }
  }
}

function duration(seconds) {
  if (seconds < 100) return say('seconds', { n: Math.ceil(seconds) });
  return say('minutes', { n: Math.ceil(seconds / 60) });
}

/** What a run did, and the files that it passed over, each with its reason. */
function summary(report) {
  const names = ['added', 'changed', 'moved', 'removed', 'unchanged', 'offline'];
  const said = names
    .filter((name) => report[name])
    .map((name) => say(name === 'offline' ? 'offline_files' : name, { n: report[name] }));
  said.push(say('seconds', { n: report.seconds }));
  const parts = [node('p', { class: 'counts', text: said.join(' · ') })];
  if (report.skipped.length) {
    const list = node('ul', { class: 'skipped', 'aria-label': say('skipped', { n: report.skipped.length }) });
    for (const { path, reason } of report.skipped.slice(0, 500)) {
      list.append(node('li', {}, node('b', { text: path }), node('span', { text: reason })));
    }
    const title = node('summary', { text: say('skipped', { n: report.skipped.length }) });
    parts.push(node('details', {}, title, list));
  }
  return parts;
}
