// The words that can be searched for: completed in the search box, and listed on the start page.

import { createElement, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { formatProblem, toProblem } from './problems.js';
import { matchName, splitLastWord } from './suggest.js';

/** @import { Api } from './api.js' */

const WAIT_MS = 120; // after the last key
const MAX_COMPLETIONS = 12;
const MAX_WORDS = 10_000;

export class Vocabulary {
  #api;
  #onChoose;
  #box = getElement('words', HTMLInputElement);
  #list = getElement('vocabulary-words');
  #timer = 0;
  #request = new AbortController();

  /**
   * @param {Api} api
   * @param {(word: string) => void} onChoose A word of the list was chosen.
   */
  constructor(api, onChoose) {
    this.#api = api;
    this.#onChoose = onChoose;
    this.#box.addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#complete(), WAIT_MS);
    });
    const details = getElement('vocabulary', HTMLDetailsElement);
    details.addEventListener('toggle', () => {
      if (details.open) this.#showAll();
    });
  }

  /** Offer the words that begin with the last one that is typed. */
  async #complete() {
    this.#request.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    const { before, last } = splitLastWord(this.#box.value);
    try {
      const words = last ? (await this.#api.fetchWords(last, MAX_COMPLETIONS, signal)).words : [];
      const options = words.map((word) => createElement('option', { value: before + matchName(word, last) }));
      if (!signal.aborted) getElement('known-words').replaceChildren(...options);
    } catch {
      if (!signal.aborted) getElement('known-words').replaceChildren(); // typing goes on without
    }
  }

  /** List all words, each as a button. */
  async #showAll() {
    if (this.#list.childElementCount) return;
    try {
      const { words, any_words: takesAny, model } = await this.#api.fetchWords('', MAX_WORDS);
      if (takesAny) {
        this.#list.replaceChildren(createElement('li', { text: translate('words_any', { name: model }) }));
        return;
      }
      const buttons = words.map(({ word, also }) => {
        const click = () => this.#onChoose(word);
        return createElement('button', { type: 'button', text: word, title: also.join(', '), click });
      });
      this.#list.replaceChildren(...buttons.map((button) => createElement('li', {}, button)));
    } catch (error) {
      const text = formatProblem(toProblem(error), translator);
      this.#list.replaceChildren(createElement('li', { text }));
    }
  }
}
