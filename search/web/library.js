// The library's folders, and the jobs that index them.

import { closeOnOutsideClick, createElement, getElement, moveFocus } from './dom.js';
import { translate, translator } from './i18n.js';
import { JobItem } from './job-item.js';
import { describeProblem, toProblem } from './problems.js';

/** @import { Api, Job, Root, Status } from './api.js' */

export class LibraryDialog {
  #api;
  #onChange;
  #dialog = getElement('folders', HTMLDialogElement);
  #pathField = getElement('folder-path', HTMLInputElement);

  /** @type {Map<string, JobItem>} */
  #jobs = new Map();

  /** What the library held when the page last showed it. */
  #seen = '';

  /** @type {Status | null} */
  status = null;

  /**
   * @param {Api} api
   * @param {() => void} onChange The library holds other pictures now.
   */
  constructor(api, onChange) {
    this.#api = api;
    this.#onChange = onChange;
    getElement('library').addEventListener('click', () => this.open());
    getElement('folders-close').addEventListener('click', () => this.#dialog.close());
    closeOnOutsideClick(this.#dialog);
    getElement('folder-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const path = this.#pathField.value.trim();
      if (path) this.#index(path);
    });
  }

  open() {
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#pathField.focus();
    this.refresh();
  }

  /** Ask what is in the library and what is being indexed. A problem is shown with the pictures. */
  async refresh() {
    try {
      const requests = /** @type {const} */ ([this.#api.fetchStatus(), this.#api.fetchJobs(), this.#api.fetchGrant()]);
      const [status, { jobs }, { role }] = await Promise.all(requests);
      document.body.classList.toggle('reader', role === 'read'); // hides what changes the library
      this.#show(status);
      for (const job of jobs.reverse()) {
        if (job.kind === 'index' && ['queued', 'running'].includes(job.state)) this.#follow(job);
      }
    } catch {
      // the request for the pictures has the same problem
    }
  }

  /** @param {Status} status */
  #show(status) {
    this.status = status;
    this.#seen ||= summarize(status);
    const pictures = translate('pictures', { n: status.pictures });
    getElement('library-count').textContent = translator.formatNumber(status.pictures);
    getElement('library').setAttribute('aria-label', `${translate('library')}, ${pictures}`);
    getElement('library').title = translate('library');
    const model = status.model ? [translate('model', { name: status.model })] : [];
    getElement('folders-summary').textContent = [pictures, ...model].join(' · ');
    this.#showRoots(status.roots.map((root) => this.#createRoot(root)));
  }

  /** @param {HTMLElement[]} items */
  #showRoots(items) {
    const list = getElement('roots');
    const focused = document.activeElement?.closest('#roots li');
    const path = focused instanceof HTMLElement ? focused.dataset.path : undefined;
    moveFocus(list, this.#pathField);
    const none = createElement('li', { class: 'none', text: translate('no_folders') });
    list.replaceChildren(...(items.length ? items : [none]));
    items.find((item) => path && item.dataset.path === path)?.querySelector('button')?.focus();
  }

  /** @param {Root} root */
  #createRoot({ path, state, files }) {
    const count = translate('files', { n: files });
    return createElement(
      'li',
      { 'data-path': path },
      createElement('span', { class: 'path', title: path }, createElement('bdi', { text: path })),
      createElement('span', { class: 'about', text: state === 'online' ? count : `${count} · ${translate('offline')}` }),
      createElement('button', {
        type: 'button',
        class: 'quiet',
        text: translate('index_again'),
        'aria-label': translate('index_again_path', { path }),
        click: () => this.#index(path),
      }),
    );
  }

  /** @param {string} path */
  async #index(path) {
    const wrong = getElement('folder-problem');
    wrong.textContent = '';
    try {
      const { job } = await this.#api.indexFolder(path);
      this.#pathField.value = '';
      this.#follow(await this.#api.fetchJob(job));
    } catch (error) {
      const { title, hint } = describeProblem(toProblem(error), translator);
      wrong.textContent = hint ? `${title}: ${hint}` : title;
      this.#pathField.focus();
    }
  }

  /** @param {Job} job */
  #follow(job) {
    if (this.#jobs.has(job.id)) return;
    const item = new JobItem(this.#api, job, {
      onChange: () => this.#showTotal(),
      onEnd: (report) => this.#finish(Boolean(report?.moved)),
    });
    this.#jobs.set(job.id, item);
    getElement('jobs').prepend(item.element);
    getElement('jobs-section').hidden = false;
    this.#showTotal();
  }

  /** @param {boolean} hasMoved Whether the job found files that were moved. */
  async #finish(hasMoved) {
    this.#showTotal();
    const status = await this.#api.fetchStatus();
    this.#show(status);
    if (summarize(status) === this.#seen && !hasMoved) return;
    this.#seen = summarize(status);
    this.#onChange();
  }

  /** Show the progress of all jobs on the button that opens the dialog. */
  #showTotal() {
    const running = [...this.#jobs.values()].filter((job) => !job.isOver);
    const bar = getElement('library-bar', HTMLProgressElement);
    bar.hidden = !running.length;
    if (running.length) bar.value = running.reduce((sum, job) => sum + job.share, 0) / running.length;
  }
}

/**
 * Return a text that differs if the library holds other pictures.
 * @param {Status} status
 */
function summarize({ pictures, files, model, index }) {
  return JSON.stringify([pictures, files, model, index.generation]);
}
