// The state of the page that several modules share. Nothing else keeps state of its own beyond what
// it shows; a module holds no state at all.

import { getResultKey } from './route.js';

/** @import { Answer, Image } from './api.js' */
/** @import { Route } from './route.js' */

const MAX_ANSWERS = 12; // so that going back takes no time

/**
 * Pictures that are only in this tab.
 * @typedef {{ blobs: readonly File[], name: string }} Upload
 */

/**
 * The library's newest pictures, as far as they are loaded. isStale: there are others by now.
 * @typedef {object} Newest
 * @property {Image[]} items
 * @property {number} page The last one that is loaded.
 * @property {number} pages
 * @property {number} total
 * @property {boolean} isLoading
 * @property {boolean} isStale
 */

export class Store {
  /** @type {Map<number, Upload>} */
  #uploads = new Map();

  /** @type {Map<string, Answer>} */
  #answers = new Map();

  /** @type {Newest | null} */
  newest = null;

  /**
   * Keep pictures for this visit.
   * @param {Upload} upload
   * @param {number} [now] Milliseconds.
   * @returns {number} A number that no earlier visit in the browser's history has.
   */
  addUpload(upload, now = Date.now()) {
    const number = Math.max(now, ...this.#uploads.keys()) + 1;
    this.#uploads.set(number, upload);
    return number;
  }

  /**
   * Return an upload, or undefined if it is not of this visit.
   * @param {number | null} number
   */
  getUpload(number) {
    return number === null ? undefined : this.#uploads.get(number);
  }

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
