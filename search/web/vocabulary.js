// The words that can be searched for, listed on the start page.

import { createElement, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { formatProblem, toProblem } from './problems.js';

/** @import { Api } from './api.js' */

const MAX_WORDS = 10_000;

export class Vocabulary {
  #api;
  #onChoose;
  #list = getElement('vocabulary-words');

  /**
   * @param {Api} api
   * @param {(word: string) => void} onChoose A word of the list was chosen.
   */
  constructor(api, onChoose) {
    this.#api = api;
    this.#onChoose = onChoose;
    const details = getElement('vocabulary', HTMLDetailsElement);
    details.addEventListener('toggle', () => {
      if (details.open) this.#showAll();
    });
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
