// A dialog that asks for a text, or whether to do something.

import { closeOnOutsideClick, createElement, getElement } from './dom.js';
import { translate } from './i18n.js';

const SHOWN_PICTURES = 6;
const WAIT_MS = 150;

/**
 * A question for a text. suggest: returns texts that there are already. other: what a second button says, if there is
 * one.
 * @typedef {{ title: string, label: string, confirm: string, other?: string, value?: string, text?: string,
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

  /** Whether the second button was pressed. */
  #isOther = false;

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
    getElement('ask-other').addEventListener('click', () => {
      if (!getElement('ask-form', HTMLFormElement).reportValidity()) return;
      this.#isConfirmed = true;
      this.#isOther = true;
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
  async askText(question) {
    return (await this.askChange(question))?.text ?? null;
  }

  /**
   * Ask for a text, and for what to do with it. Returns null if there is none.
   * @param {TextQuestion} question
   * @returns {Promise<{ text: string, isOther: boolean } | null>} isOther: whether the second button was pressed.
   */
  async askChange({ title, label, confirm, suggest, other = '', value = '', text = '' }) {
    getElement('ask-label').textContent = label;
    this.#field.value = value;
    this.#suggest = suggest;
    getElement('ask-suggestions').replaceChildren();
    this.#showSuggestions();
    const isConfirmed = await this.#open({ title, text, confirm, pictures: [] }, true, other);
    const written = this.#field.value.trim();
    return isConfirmed && written ? { text: written, isOther: this.#isOther } : null;
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
   * @param {string} [other]
   * @returns {Promise<boolean>}
   */
  #open({ title, text, confirm, pictures }, isText, other = '') {
    getElement('ask-title').textContent = title;
    getElement('ask-about').textContent = text;
    getElement('ask-about').hidden = !text;
    getElement('ask-fields').hidden = !isText;
    this.#field.required = isText;
    const shown = pictures.slice(0, SHOWN_PICTURES).map((src) => createElement('img', { src, alt: '' }));
    getElement('ask-pictures').replaceChildren(...shown);
    getElement('ask-other').textContent = other;
    getElement('ask-other').hidden = !other;
    const button = getElement('ask-confirm');
    button.textContent = confirm || translate('add');
    return new Promise((resolve) => {
      this.#answer = resolve;
      this.#isConfirmed = false;
      this.#isOther = false;
      this.#dialog.showModal();
      (isText ? this.#field : getElement('ask-cancel')).focus();
      if (isText) this.#field.select(); // what is typed replaces a proposed name
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
