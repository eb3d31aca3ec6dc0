// The toolbar above the results: filters, order, the size of the pictures, and the map.

import { getElement } from './dom.js';
import { translate } from './i18n.js';
import { VIEW_SIZES, getStorage, readPreferences, writePreferences } from './preferences.js';
import { SORT_KEYS, START } from './route.js';

/** @import { Route } from './route.js' */

/**
 * What the toolbar calls.
 * @typedef {object} Callbacks
 * @property {(change: Partial<Route>) => void} onChange
 * @property {(factor: number) => void} onSize The pictures are to be so many times as high as usual.
 * @property {() => void} onMap
 */

export class Toolbar {
  #callbacks;
  #sort = getElement('sort', HTMLSelectElement);
  #size = getElement('view-size', HTMLInputElement);

  /** @type {Pick<Route, 'terms' | 'sort'>} */
  #route = { terms: [], sort: '' };

  /** @type {readonly string[]} */
  #where = [];

  /** @param {Callbacks} callbacks */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    this.#sort.addEventListener('change', () => this.#choose(this.#sort.value));
    getElement('sort-reverse').addEventListener('click', () => this.#reverse());
    getElement('map-open').addEventListener('click', () => callbacks.onMap());
    getElement('duplicates-open').addEventListener('click', () => {
      callbacks.onChange({ ...START, where: this.#where, duplicates: 'exact' });
    });
    this.#size.max = String(VIEW_SIZES.length - 1);
    this.#size.value = String(VIEW_SIZES.indexOf(readPreferences(getStorage()).viewSize));
    this.#size.addEventListener('input', () => {
      const viewSize = VIEW_SIZES[Number(this.#size.value)];
      writePreferences(getStorage(), { viewSize });
      callbacks.onSize(viewSize);
    });
  }

  /** @param {Route} route */
  show(route) {
    this.#route = route;
    this.#where = route.where;
    const [key, isReversed] = splitSort(getSort(route));
    const keys = SORT_KEYS.filter((name) => name !== 'score' || route.terms.length);
    this.#sort.replaceChildren(...keys.map((name) => new Option(translate(`sort_${name}`), name, false, name === key)));
    const button = getElement('sort-reverse', HTMLButtonElement);
    button.disabled = key === 'score';
    button.classList.toggle('is-descending', isReversed);
    button.setAttribute('aria-pressed', String(isReversed));
  }

  /** @param {string} key */
  #choose(key) {
    const isNewestFirst = key === 'date' || key === 'added' || key === 'size';
    this.#enter(isNewestFirst ? `-${key}` : key);
  }

  #reverse() {
    const [key, isReversed] = splitSort(getSort(this.#route));
    this.#enter(isReversed ? key : `-${key}`);
  }

  /** @param {string} sort */
  #enter(sort) {
    const usual = getSort({ ...this.#route, sort: '' });
    this.#callbacks.onChange({ sort: sort === usual ? '' : sort, from: '' });
  }
}

/**
 * Return the order of a route: its own, else the best first, or the newest first.
 * @param {Pick<Route, 'terms' | 'sort'>} route
 */
export function getSort({ terms, sort }) {
  return sort || (terms.length ? 'score' : '-added');
}

/**
 * Split an order into its key and whether it is reversed.
 * @param {string} sort
 * @returns {[string, boolean]}
 */
export function splitSort(sort) {
  return sort.startsWith('-') ? [sort.slice(1), true] : [sort, false];
}
