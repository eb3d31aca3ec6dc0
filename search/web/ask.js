// A dialog that asks for a text, or whether to do something.

import { closeOnOutsideClick, createElement, getElement } from './dom.js';
import { translate } from './i18n.js';

const SHOWN_PICTURES = 6;
const WAIT_MS = 150;

/**
 * A question for a text. suggest: returns texts that there are already.
 * @typedef {{ title: string, label: string, confirm: string, value?: string, text?: string,
 *   suggest: (prefix: string) => Promise<string[]> }} TextQuestion
 */

/**
 * A question that is confirmed or not. pictures: addresses of what it is about.
 * @typedef {{ title: string, text: string, confirm: string, pictures: string[] }} Question
 */

export class AskDialog {
  #dialog = getElement('ask', HTMLDialogElement);
  #field = getElement('ask-text', HTMLInputElement);
  #timer = 0;

  #isConfirmed = false;

  /** @type {(isConfirmed: boolean) => void} */
  #answer = () => {};

  /** @type {TextQuestion['suggest'] | null} */
  #suggest = null;

  constructor() {
    closeOnOutsideClick(this.#dialog);
    getElement('ask-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#isConfirmed = true;
      this.#dialog.close();
    });
    getElement('ask-cancel').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('close', () => this.#answer(this.#isConfirmed)); // not before: another question may follow
    this.#field.addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#showSuggestions(), WAIT_MS);
    });
  }

  /**
   * Ask for a text. Returns null if there is none.
   * @param {TextQuestion} question
   */
  async askText({ title, label, confirm, suggest, value = '', text = '' }) {
    getElement('ask-label').textContent = label;
    this.#field.value = value;
    this.#suggest = suggest;
    getElement('ask-suggestions').replaceChildren();
    this.#showSuggestions();
    const isConfirmed = await this.#open({ title, text, confirm, pictures: [] }, true);
    return (isConfirmed && this.#field.value.trim()) || null;
  }

  /**
   * Ask whether to do something.
   * @param {Question} question
   */
  confirm(question) {
    return this.#open(question, false);
  }

  /**
   * @param {Question} question
   * @param {boolean} isText
   * @returns {Promise<boolean>}
   */
  #open({ title, text, confirm, pictures }, isText) {
    getElement('ask-title').textContent = title;
    getElement('ask-about').textContent = text;
    getElement('ask-about').hidden = !text;
    getElement('ask-fields').hidden = !isText;
    this.#field.required = isText;
    const shown = pictures.slice(0, SHOWN_PICTURES).map((src) => createElement('img', { src, alt: '' }));
    getElement('ask-pictures').replaceChildren(...shown);
    const button = getElement('ask-confirm');
    button.textContent = confirm || translate('add');
    return new Promise((resolve) => {
      this.#answer = resolve;
      this.#isConfirmed = false;
      this.#dialog.showModal();
      (isText ? this.#field : getElement('ask-cancel')).focus();
    });
  }

  async #showSuggestions() {
    if (!this.#suggest) return;
    try {
      const texts = await this.#suggest(this.#field.value.trim());
      getElement('ask-suggestions').replaceChildren(...texts.map((value) => createElement('option', { value })));
    } catch {
      // typing goes on without
    }
  }
}
