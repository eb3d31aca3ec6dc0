// A job that indexes a folder, reads texts or captions pictures: its progress, rate, time left, and the
// files that it skipped.

import { createElement, getElement, moveFocus } from './dom.js';
import { translate, translator } from './i18n.js';
import { followJob } from './job-events.js';
import { formatProblem, toProblem } from './problems.js';
import { describeSkip } from './root-item.js';

/** @import { Api, Job } from './api.js' */

const MAX_SHARE = 0.99; // the bar is full when all can be found, not before
const MAX_SKIPPED = 500; // files that are listed

/** What is counted of a run, by the kind of its job. */
const COUNTS = Object.freeze(
  /** @type {const} */ ({
    index: ['added', 'changed', 'moved', 'removed', 'unchanged', 'offline_files'],
    text: ['text_read', 'text_found', 'text_pending'],
    caption: ['caption_made', 'caption_empty', 'caption_left'],
  }),
);

/** Names of counts in a report, where the text has another one. */
const FIELDS = Object.freeze(
  /** @type {Readonly<Record<string, string>>} */ ({
    offline_files: 'offline', text_read: 'read', text_found: 'with_text', text_pending: 'pending',
    caption_made: 'captioned', caption_empty: 'empty', caption_left: 'pending',
  }),
);

/** Kinds of files that are not read, in the order in which they are shown. */
const LEFT_OUT = Object.freeze(
  /** @type {const} */ (['raw', 'film', 'psd', 'jxl', 'svg', 'no_suffix', 'link', 'other', 'system_folder']),
);

/**
 * What a run did.
 * @typedef {Record<string, number> & {
 *   seconds: number, skipped: { path: string, reason: string, code: string }[], left_out?: Record<string, number>,
 * }} Report
 */

export class JobItem {
  #api;
  #onChange;
  #onEnd;
  #onContinue;
  #stopFollowing = () => {};
  #pace = { phase: '', since: 0, before: 0 };
  share = 0;
  isOver = false;

  /**
   * @param {Api} api
   * @param {Job} job
   * @param {{ onChange: () => void, onEnd: (report?: Report) => void, onContinue: (job: JobItem) => void }} callbacks
   */
  constructor(api, job, { onChange, onEnd, onContinue }) {
    this.#api = api;
    this.#onChange = onChange;
    this.#onEnd = onEnd;
    this.#onContinue = onContinue;
    this.path = job.path;
    this.id = job.id;
    this.kind = toKind(job.kind);
    this.title = this.kind === 'index' ? job.path : translate(this.kind === 'text' ? 'job_text' : 'job_caption');
    this.bar = createElement('progress', { max: 1, 'aria-label': translate('job_path', { path: this.title }) });
    this.counts = createElement('p', { class: 'counts' });
    this.summary = createElement('div', { role: 'status' });
    this.cancelButton = createElement('button', {
      type: 'button',
      class: 'button-secondary',
      text: translate('pause'),
      'aria-label': translate('pause_path', { path: this.title }),
      click: () => this.#cancel(),
    });
    const path = createElement('span', { class: 'path', title: this.title }, createElement('bdi', { text: this.title }));
    const head = createElement('div', { class: 'panel-row' }, path, this.cancelButton);
    this.element = createElement('li', { class: 'job' }, head, this.bar, this.counts, this.summary);
    this.#show(job);
    if (this.isOver) return;
    const callbacks = {
      /** @param {Job} now */
      onChange: (now) => this.#show(now),
      onLost: () => {
        this.counts.textContent = translate('job_lost');
      },
      onGone: () => this.#showGone(),
    };
    this.#stopFollowing = followJob(api, job.id, callbacks, { state: job.state, isLong: true });
  }

  /** The server was restarted and does not know the job. */
  #showGone() {
    this.#show({ state: 'cancelled', progress: null, report: null, error: null, code: null });
  }

  /** @param {Pick<Job, 'state' | 'progress' | 'report' | 'error' | 'code'>} job */
  #show(job) {
    if (this.isOver) return;
    const { state, progress } = job;
    this.element.dataset.state = state;
    this.share = state === 'done' ? 1 : MAX_SHARE * (progress?.total ? progress.done / progress.total : 0);
    if (state === 'running' && !progress?.total) this.bar.removeAttribute('value');
    else this.bar.value = this.share;
    if (state === 'queued') this.counts.textContent = translate('job_queued');
    else if (state === 'running') {
      this.counts.textContent = progress?.total ? this.#describePace(progress) : this.#describeStart(progress?.done);
    } else this.#end(job);
    this.#onChange();
  }

  /**
   * Describe counts, rate and time left, by what was done since the phase was first seen.
   * @param {NonNullable<Job['progress']>} progress
   */
  #describePace({ done, total, phase }) {
    const now = performance.now();
    if (this.#pace.phase !== phase) this.#pace = { phase, since: now, before: done };
    if (phase === 'fetch') return translate('job_fetch', { done, total });
    const parts = [translate('job_progress', { done, total })];
    const rate = (1000 * (done - this.#pace.before)) / (now - this.#pace.since);
    if (rate > 0 && Number.isFinite(rate)) {
      parts.push(translate('job_rate', { n: rate < 10 ? rate : Math.round(rate) }));
      const time = translator.formatDuration((total - done) / rate);
      if (done < total) parts.push(translate('job_left', { time }));
    }
    return parts.join(' · ');
  }

  /**
   * Describe what is done before it is known how much there is to do.
   * @param {number} [listed] Pictures that were listed so far.
   */
  #describeStart(listed) {
    if (this.kind !== 'index') return translate('job_starts');
    return listed ? translate('job_listed', { n: listed }) : translate('job_scan');
  }

  /** @param {Pick<Job, 'state' | 'report' | 'error' | 'code'>} job */
  #end({ state, report, error, code }) {
    this.isOver = true;
    this.#stopFollowing();
    if (state === 'cancelled') this.#offerContinuing();
    moveFocus(this.cancelButton, getElement('folders-close'));
    this.cancelButton.remove();
    const isIndex = this.kind === 'index';
    const endings = { done: translate(isIndex ? 'job_done' : 'job_made'), cancelled: translate(isIndex ? 'job_cancelled' : 'job_stopped') };
    this.counts.textContent = state === 'done' || state === 'cancelled' ? endings[state] : translate('job_failed');
    if (error) {
      const text = formatProblem({ code: code ?? 'unknown', detail: error }, translator);
      this.summary.append(createElement('p', { class: 'error-text', text }));
    }
    if (report) this.summary.append(...createSummary(report, COUNTS[this.kind]));
    this.#onEnd(report);
  }

  /** What a paused job has added stays, so that another job goes on from there. */
  #offerContinuing() {
    const button = createElement('button', {
      type: 'button',
      class: 'button-secondary',
      text: translate('continue'),
      'aria-label': translate('continue_path', { path: this.title }),
      click: () => {
        button.remove();
        this.#onContinue(this);
      },
    });
    this.cancelButton.after(button);
  }

  async #cancel() {
    if (this.cancelButton.ariaDisabled) return;
    this.cancelButton.ariaDisabled = 'true';
    try {
      this.#show(await this.#api.cancelJob(this.id));
    } catch (error) {
      if (toProblem(error).status === 404) this.#showGone();
      this.cancelButton.ariaDisabled = null;
    }
  }
}

/**
 * Return the kind of a job that the panel shows.
 * @param {string} kind
 * @returns {keyof typeof COUNTS}
 */
function toKind(kind) {
  return kind === 'text' || kind === 'caption' ? kind : 'index';
}

/**
 * Create what says what a run did, and which files it skipped. Their reasons are English, so
 * that other languages show what their codes mean.
 * @param {Report} report
 * @param {typeof COUNTS[keyof typeof COUNTS]} names Of what is counted.
 */
function createSummary(report, names) {
  const counts = names.map((name) => /** @type {const} */ ([name, report[FIELDS[name] ?? name]]));
  const parts = counts.filter(([, n]) => n).map(([name, n]) => translate(name, { n }));
  parts.push(translate('seconds', { n: report.seconds }));
  const elements = /** @type {HTMLElement[]} */ ([createElement('p', { class: 'counts', text: parts.join(' · ') })]);
  const kinds = LEFT_OUT.filter((kind) => report.left_out?.[kind]);
  if (kinds.length) {
    const list = kinds.map((kind) => translate(`left_out_${kind}`, { n: report.left_out?.[kind] ?? 0 })).join(', ');
    elements.push(createElement('p', { class: 'counts', text: translate('left_out', { list }) }));
  }
  if (report.skipped.length) {
    const title = translate('skipped', { n: report.skipped.length });
    const items = report.skipped.slice(0, MAX_SKIPPED).map(({ path, reason, code }) => {
      return createElement('li', {}, createElement('b', { text: path }), createElement('span', { text: describeSkip(code, reason) }));
    });
    const list = createElement('ul', { class: 'skipped', 'aria-label': title }, ...items);
    elements.push(createElement('details', {}, createElement('summary', { text: title }), list));
  }
  return elements;
}
