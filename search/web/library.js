// The library's folders, and the jobs that index them.

import { closeOnOutsideClick, createElement, getElement, moveFocus } from './dom.js';
import { Descriptions } from './descriptions.js';
import { FolderBrowser } from './folder-browser.js';
import { translate, translator } from './i18n.js';
import { JobItem } from './job-item.js';
import { PhoneLink } from './phone.js';
import { formatProblem, toProblem } from './problems.js';
import { RootItem } from './root-item.js';

/** @import { Api, Job, Root, Status } from './api.js' */

const SHOWN_JOBS = Object.freeze(['index', 'text', 'caption']);
const REFRESH_MS = 5000; // between two looks while the dialog is open
const LOOK_MS = 3000; // between two looks at what a job has added

export class LibraryDialog {
  #api;
  #onChange;
  #onStatus;
  #dialog = getElement('folders', HTMLDialogElement);
  #pathField = getElement('folder-path', HTMLInputElement);
  #problem = getElement('folder-problem');
  #isOwner = false;
  #descriptions;

  /** Timer that asks again while the dialog is open: the server starts jobs by itself. */
  #timer = 0;

  /** @type {Map<string, JobItem>} */
  #jobs = new Map();

  /** When the library was last asked for while a job runs, in milliseconds. */
  #looked = 0;

  /** What the library held when the page last showed it. */
  #seen = '';

  /** @type {Status | null} */
  status = null;

  /**
   * @param {Api} api
   * @param {() => void} onChange The library holds other pictures now.
   * @param {(status: Status) => void} onStatus What the library holds is known.
   */
  constructor(api, onChange, onStatus) {
    this.#api = api;
    this.#onChange = onChange;
    this.#onStatus = onStatus;
    getElement('library').addEventListener('click', () => this.open());
    getElement('folders-close').addEventListener('click', () => this.#dialog.close());
    closeOnOutsideClick(this.#dialog);
    new FolderBrowser(api, (path) => this.#index(path));
    for (const [id, name] of [['browse', 'click'], ['folder-path', 'input']]) {
      getElement(id).addEventListener(name, () => this.#clearProblem());
    }
    new PhoneLink(api);
    this.#descriptions = new Descriptions(api, (job) => this.#followStarted(job));
    this.#dialog.addEventListener('close', () => clearInterval(this.#timer));
    getElement('log-out').addEventListener('click', () => this.#logOut());
    getElement('folder-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const path = this.#pathField.value.trim();
      if (path) this.#index(path);
    });
  }

  /** @param {string} [path] Of a folder that may be added. */
  open(path) {
    if (!this.#dialog.open) this.#dialog.showModal();
    if (path) this.#pathField.value = path;
    this.#pathField.focus();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.refresh(), REFRESH_MS);
    this.refresh();
  }

  async #logOut() {
    try {
      await this.#api.logOut();
      location.replace('/');
    } catch (error) {
      this.#problem.textContent = formatProblem(toProblem(error), translator);
    }
  }

  /** Ask what is in the library and what is being indexed. A problem is shown with the pictures. */
  async refresh() {
    try {
      const requests = /** @type {const} */ ([this.#api.fetchStatus(), this.#api.fetchJobs(), this.#api.fetchGrant()]);
      const [status, { jobs }, { role, has_login: hasLogin }] = await Promise.all(requests);
      document.body.classList.toggle('is-read-only', role === 'read'); // hides what changes the library
      this.#isOwner = role === 'admin';
      getElement('phone-section').hidden = !this.#isOwner || !hasLogin;
      getElement('log-out').hidden = !hasLogin;
      this.#show(status);
      for (const job of jobs.reverse()) {
        if (SHOWN_JOBS.includes(job.kind) && ['queued', 'running'].includes(job.state)) this.#follow(job);
      }
    } catch {
      // the request for the pictures has the same problem
    }
  }

  /** @param {Status} status */
  #show(status) {
    this.status = status;
    this.#onStatus(status);
    this.#seen ||= summarize(status);
    const pictures = translate('pictures', { n: status.pictures });
    getElement('library-count').textContent = translator.formatNumber(status.pictures);
    getElement('library').setAttribute('aria-label', `${translate('library')} ${pictures}`);
    getElement('library').title = translate('library');
    const model = status.model ? [translate('model', { name: status.model })] : [];
    getElement('folders-summary').textContent = [pictures, ...model].join(' · ');
    if (this.#dialog.open) this.#showDescriptions();
    if (!document.querySelector('#roots details[open]')) this.#showRoots(status.roots.map((root) => this.#createRoot(root)));
  }

  #showDescriptions() {
    if (!this.status || document.body.classList.contains('is-read-only')) return;
    const running = [...this.#jobs.values()].filter((job) => !job.isOver).map(({ kind }) => kind);
    this.#descriptions.show(this.status.texts, this.status.pictures, new Set(running));
  }

  /** @param {string} job */
  async #followStarted(job) {
    this.#follow(await this.#api.fetchJob(job));
    this.#showDescriptions();
  }

  /** Go on with a job that was paused. @param {JobItem} job */
  async #continue(job) {
    if (job.kind === 'index') {
      await this.#index(job.path);
      return;
    }
    try {
      const { job: next } = await (job.kind === 'text' ? this.#api.readText() : this.#api.captionImages(this.#descriptions.model));
      await this.#followStarted(next);
    } catch (error) {
      this.#problem.textContent = formatProblem(toProblem(error), translator);
    }
  }

  /** @param {HTMLElement[]} items */
  #showRoots(items) {
    const list = getElement('roots');
    const focused = document.activeElement?.closest('#roots li');
    const path = focused instanceof HTMLElement ? focused.dataset.path : undefined;
    moveFocus(list, this.#pathField);
    const none = createElement('li', { class: 'empty-note', text: translate('no_folders') });
    list.replaceChildren(...(items.length ? items : [none]));
    items.find((item) => path && item.dataset.path === path)?.querySelector('button')?.focus();
  }

  /** @param {Root} root */
  #createRoot(root) {
    const callbacks = {
      onIndex: (/** @type {string} */ path, /** @type {string[] | undefined} */ exclude) => {
        this.#index(path, exclude);
      },
      onChange: () => {
        // the settings that are open are those of before
        for (const details of document.querySelectorAll('#roots details[open]')) details.removeAttribute('open');
        this.#finish(false);
      },
    };
    return new RootItem(this.#api, root, callbacks).element;
  }

  /**
   * @param {string} path
   * @param {string[]} [exclude]
   */
  async #index(path, exclude) {
    this.#clearProblem();
    try {
      const { job } = await this.#api.indexFolder(path, exclude);
      this.#pathField.value = '';
      this.#follow(await this.#api.fetchJob(job));
    } catch (error) {
      const problem = toProblem(error);
      this.#problem.textContent = formatProblem(problem, translator);
      this.#pathField.focus();
      if (problem.code === 'folder_not_allowed' && this.#isOwner) this.#offerAllowing(path);
    }
  }

  /** Forget what was wrong with the last folder, since another one is looked for. */
  #clearProblem() {
    this.#problem.textContent = '';
    getElement('folder-allow').hidden = true;
  }

  /**
   * Let the owner allow a folder by one click.
   * @param {string} path
   */
  #offerAllowing(path) {
    const button = createElement('button', { type: 'button', class: 'button-secondary', text: translate('allow_folder') });
    button.addEventListener('click', async () => {
      try {
        await this.#api.allowFolder(path);
        await this.#index(path);
      } catch (error) {
        this.#problem.textContent = formatProblem(toProblem(error), translator);
      }
    });
    const hint = createElement('p', { class: 'hint', text: translate('allow_hint') });
    getElement('folder-allow').replaceChildren(button, hint);
    getElement('folder-allow').hidden = false;
  }

  /** @param {Job} job */
  #follow(job) {
    if (this.#jobs.has(job.id)) return;
    const item = new JobItem(this.#api, job, {
      onChange: () => {
        this.#showTotal();
        this.#lookAgain();
      },
      onEnd: (report) => this.#finish(Boolean(report?.moved || report?.captioned)),
      onContinue: (paused) => this.#continue(paused),
    });
    this.#jobs.set(job.id, item);
    getElement('jobs').prepend(item.element);
    getElement('jobs-section').hidden = false;
    this.#showTotal();
  }

  /** Show from time to time what a job has added so far; the first pictures show at once. */
  async #lookAgain() {
    const now = performance.now();
    if (now - this.#looked < LOOK_MS || !this.status) return;
    this.#looked = now;
    const isFirst = !this.status.pictures;
    try {
      const status = await this.#api.fetchStatus();
      this.#show(status);
      if (!isFirst || !status.pictures) return;
      this.#seen = summarize(status);
      this.#onChange();
    } catch {
      // the end of the job asks again
    }
  }

  /** @param {boolean} hasMoved Whether the job found files that were moved, or captioned pictures. */
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
