// The state of the page that several modules share. Nothing else keeps state of its own beyond what
// it shows; a module holds no state at all.

import { FileStore } from './file-store.js';
import { getResultKey } from './route.js';

/** @import { Answer, Image } from './api.js' */
/** @import { Route } from './route.js' */

const MAX_ANSWERS = 12; // so that going back takes no time

/**
 * The library's newest pictures, as far as they are loaded. isStale: there are others by now.
 * @typedef {object} Newest
 * @property {string} key Which pictures: a key of their conditions.
 * @property {Image[]} items
 * @property {string | null} next The cursor of the next page; null after the last.
 * @property {number} total
 * @property {boolean} isLoading
 * @property {boolean} isStale
 */

export class Store {
  files = new FileStore();

  /** @type {Map<string, Answer>} */
  #answers = new Map();

  /** @type {Newest | null} */
  newest = null;

  /**
   * Keep the answer to a route. The oldest of too many are dropped.
   * @param {Route} route
   * @param {Answer} answer
   */
  addAnswer(route, answer) {
    const key = getResultKey(route);
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > MAX_ANSWERS) this.#answers.delete(oldest);
  }

  /**
   * Return the answer to a route, if it is kept.
   * @param {Route} route
   */
  getAnswer(route) {
    return this.#answers.get(getResultKey(route));
  }

  /** Drop what no longer holds, since the library has changed. */
  invalidate() {
    this.#answers.clear();
    if (this.newest) this.newest.isStale = true;
  }
}
