// The choice of a collection beside the search box, which is there once the library has one.

import { findValue, replaceCondition } from './conditions.js';
import { getElement } from './dom.js';
import { translate } from './i18n.js';

/** @import { Root } from './api.js' */

const FIELD = 'collection';

export class CollectionChoice {
  #select = getElement('collection', HTMLSelectElement);

  /** @type {readonly string[]} */
  #names = [];

  /** @type {readonly string[]} */
  #where = [];

  /** @param {(where: string[]) => void} onChoose Takes the conditions with the chosen collection. */
  constructor(onChoose) {
    this.#select.addEventListener('change', () => {
      onChoose(replaceCondition(this.#where, FIELD, '=', this.#select.value));
    });
  }

  /**
   * Offer the collections of the library.
   * @param {readonly Root[]} roots
   */
  offer(roots) {
    this.#names = [...new Set(roots.map(({ collection }) => collection ?? ''))].filter(Boolean).toSorted();
    this.#show();
  }

  /**
   * Show which collection some conditions limit the pictures to.
   * @param {readonly string[]} where
   */
  show(where) {
    this.#where = where;
    this.#show();
  }

  #show() {
    const value = findValue(this.#where, FIELD, '=');
    const isChosen = (/** @type {string} */ name) => name.toLowerCase() === value.toLowerCase();
    const names = value && !this.#names.some(isChosen) ? [...this.#names, value] : this.#names;
    const options = names.map((name) => new Option(name, name, false, isChosen(name)));
    this.#select.replaceChildren(new Option(translate('collection_all'), '', false, !value), ...options);
    getElement('known-collections').replaceChildren(...this.#names.map((name) => new Option(name)));
    this.#select.hidden = !this.#names.length;
    this.#select.classList.toggle('is-chosen', Boolean(value));
  }
}

/**
 * Return those of some conditions that a new search keeps: its collection.
 * @param {readonly string[]} where
 */
export function keepCollection(where) {
  return replaceCondition([], FIELD, '=', findValue(where, FIELD, '='));
}
