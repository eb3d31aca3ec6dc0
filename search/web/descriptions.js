// The part of the library's panel that says which pictures were read for text and captioned, that
// starts either, and that saves and adds what people say of pictures.

import { createElement, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { formatProblem, isAbort, toProblem } from './problems.js';

/** @import { Api, CaptionStatus, TextStatus } from './api.js' */

export class Descriptions {
  #api;
  #onStart;
  #section = getElement('descriptions-section');
  #problem = getElement('descriptions-problem');
  #textStart = getElement('text-start', HTMLButtonElement);
  #captionStart = getElement('caption-start', HTMLButtonElement);
  #models = getElement('caption-model', HTMLSelectElement);
  #file = getElement('annotations-file', HTMLInputElement);

  /**
   * @param {Api} api
   * @param {(job: string) => void} onStart A job was started.
   */
  constructor(api, onStart) {
    this.#api = api;
    this.#onStart = onStart;
    this.#textStart.addEventListener('click', () => this.#start(this.#textStart, () => api.readText()));
    this.#captionStart.addEventListener('click', () => this.#start(this.#captionStart, () => api.captionImages(this.model)));
    this.#models.addEventListener('change', () => this.#showHint());
    getElement('annotations-add').addEventListener('click', () => this.#file.click());
    this.#file.addEventListener('change', () => this.#addAnnotations());
  }

  /** The model that is chosen; empty for that of the server's settings. */
  get model() {
    return this.#models.value;
  }

  /**
   * Show how far texts and captions are.
   * @param {TextStatus} texts
   * @param {number} pictures In the library.
   * @param {ReadonlySet<string>} running Kinds of the jobs that are not over.
   */
  async show(texts, pictures, running) {
    this.#section.hidden = !pictures;
    if (!pictures) return;
    this.#showText(texts, running.has('text'));
    try {
      this.#showCaptions(await this.#api.fetchCaptions(), running.has('caption'));
    } catch (error) {
      if (!isAbort(error)) getElement('caption-state').textContent = formatProblem(toProblem(error), translator);
    }
  }

  /**
   * @param {TextStatus} texts
   * @param {boolean} isRunning
   */
  #showText({ enabled, installed, install, read, with_text: withText, pending }, isRunning) {
    const parts = [translate('text_read', { n: read }), translate('text_found', { n: withText })];
    if (pending) parts.push(translate('text_pending', { n: pending }));
    getElement('text-state').textContent = parts.join(' · ');
    const reason = installed ? 'text_off' : 'text_not_installed';
    getElement('text-hint').textContent = enabled && installed ? '' : translate(reason, { command: install ?? '' });
    this.#textStart.hidden = !(enabled && installed && pending) || isRunning;
  }

  /**
   * @param {CaptionStatus} status
   * @param {boolean} isRunning
   */
  #showCaptions({ captioned, by_model: byModel, without, models }, isRunning) {
    const parts = [translate('captions_own', { n: captioned }), translate('captions_by_model', { n: byModel }), translate('captions_none', { n: without })];
    getElement('caption-state').textContent = parts.join(' · ');
    const offered = models.filter((one) => one.installed || one.default);
    const chosen = this.#models.value;
    const options = offered.map(({ name, default: isDefault, installed }) => {
      const value = isDefault ? '' : name; // the server's own choice may be a file, which has no name here
      return createElement('option', { value, text: name, 'data-fetches': installed ? null : '', selected: value === chosen });
    });
    this.#models.replaceChildren(...options);
    for (const control of [this.#captionStart, this.#models]) control.disabled = isRunning || !offered.length;
    this.#showHint();
  }

  #showHint() {
    const isFetched = this.#models.selectedOptions[0]?.dataset.fetches !== undefined;
    getElement('caption-hint').textContent = translate(isFetched ? 'captions_fetch' : 'captions_hint');
  }

  /** Send the file that was chosen. */
  async #addAnnotations() {
    const [file] = this.#file.files ?? [];
    this.#file.value = ''; // so that the same file can be chosen again
    if (!file) return;
    const state = getElement('annotations-state');
    this.#problem.textContent = '';
    try {
      const { pictures, unknown } = await this.#api.importAnnotations(file);
      const parts = [translate('annotations_added', { n: pictures })];
      if (unknown.length) parts.push(translate('annotations_unknown', { n: unknown.length }));
      state.textContent = parts.join(' · ');
    } catch (error) {
      state.textContent = '';
      this.#problem.textContent = formatProblem(toProblem(error), translator);
    }
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {() => Promise<{ job: string }>} start
   */
  async #start(button, start) {
    if (button.ariaBusy) return;
    button.ariaBusy = 'true';
    this.#problem.textContent = '';
    try {
      const { job } = await start();
      this.#onStart(job);
    } catch (error) {
      this.#problem.textContent = formatProblem(toProblem(error), translator);
    } finally {
      button.ariaBusy = null;
    }
  }
}
