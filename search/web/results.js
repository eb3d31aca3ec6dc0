// The pictures that are shown: the hits of a query, or the library's newest.

import { getElement } from './dom.js';
import { translate } from './i18n.js';
import { isAbort, toProblem } from './problems.js';
import { buildTerms, isTextQuery } from './query.js';
import { MAX_K } from './route.js';
import { describeReading } from './suggest.js';

/** @import { Answer, Api, Item } from './api.js' */
/** @import { Grid } from './grid.js' */
/** @import { Action, Placeholder } from './placeholder.js' */
/** @import { Problem } from './problems.js' */
/** @import { QueryPanel } from './query-panel.js' */
/** @import { Route } from './route.js' */
/** @import { Store, Upload } from './store.js' */

/**
 * What the results call.
 * @typedef {object} Callbacks
 * @property {() => void} onListed Other pictures are in the grid.
 * @property {(route: Route, id: string, answer: Answer) => void} onRecognized The library holds the
 *   picture that a route has uploaded.
 * @property {() => Action} createAddFolder
 */

/**
 * The parts that results are shown with.
 * @typedef {{ api: Api, store: Store, grid: Grid, panel: QueryPanel, placeholder: Placeholder }} Parts
 */

export class Results {
  #parts;
  #callbacks;
  #request = new AbortController();

  /** Whether the last request failed. */
  hasFailed = false;

  /**
   * @param {Parts} parts
   * @param {Callbacks} callbacks
   */
  constructor(parts, callbacks) {
    this.#parts = parts;
    this.#callbacks = callbacks;
  }

  /**
   * Request and show the pictures of a route.
   * @param {Route} route
   * @param {number} [y] Pixels to scroll to.
   */
  async load(route, y = 0) {
    this.#request.abort();
    this.#request = new AbortController();
    this.hasFailed = false;
    const isQuery = Boolean(route.q) || route.upload !== null;
    document.body.classList.toggle('asking', isQuery);
    document.body.classList.toggle('alone', isTextQuery(route));
    getElement('more').hidden = true;
    this.#showReading('');
    this.#parts.placeholder.hide();
    getElement('results-title').textContent = isQuery ? translate('results', { n: 0 }) : translate('newest');
    if (isQuery) {
      await this.#search(route, y, this.#request.signal);
      return;
    }
    document.title = translate('title');
    await this.#loadNewest(route, y, this.#request.signal);
  }

  /**
   * @param {Route} route
   * @param {number} y
   * @param {AbortSignal} signal
   */
  async #search(route, y, signal) {
    const { api, store, panel, placeholder } = this.#parts;
    const upload = store.getUpload(route.upload);
    if (route.upload !== null && !upload) {
      document.body.classList.remove('asking');
      this.#list([], true);
      placeholder.show('image', translate('lost_upload'), translate('lost_upload_hint'));
      return;
    }
    panel.show(route, upload);
    this.#showBusy(translate('searching'));
    try {
      const blobs = upload?.blobs ?? [];
      const terms = buildTerms(route, blobs.length);
      const answer = store.getAnswer(route) ?? (await api.search(terms, route.k, blobs, signal));
      store.addAnswer(route, answer);
      this.#showAnswer(route, answer, y);
      if (upload) await this.#recognize(route, upload, answer);
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) this.#showProblem(route, toProblem(error));
    }
  }

  /**
   * @param {Route} route
   * @param {Answer} answer
   * @param {number} y
   */
  #showAnswer(route, answer, y) {
    const { hits } = answer;
    const reading = describeReading(answer, translate);
    this.#list(hits, true, y);
    const time = translate('took', { n: Math.round(answer.took_ms.total) });
    this.#showHeading(translate('results', { n: hits.length }), `${time} · ${answer.model}`);
    getElement('more').hidden = hits.length < route.k || route.k >= MAX_K;
    this.#showReading(hits.length ? reading : '');
    if (!hits.length) this.#parts.placeholder.show('search', translate('no_results'), reading);
  }

  /**
   * Look for an uploaded picture in the library by its content: there it has an address.
   * @param {Route} route
   * @param {Upload} upload
   * @param {Answer} answer
   */
  async #recognize(route, { blobs }, answer) {
    if (blobs.length > 1 || !crypto.subtle) return; // browsers give no digest without TLS
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await blobs[0].arrayBuffer()));
    const id = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    if (answer.hits.some((hit) => hit.id === id)) this.#callbacks.onRecognized(route, id, answer);
  }

  /**
   * @param {Route} route
   * @param {number} y
   * @param {AbortSignal} signal
   */
  async #loadNewest(route, y, signal) {
    const { api, store, placeholder } = this.#parts;
    if (!store.newest || store.newest.isStale) {
      this.#showBusy(translate('loading'));
      try {
        const { images, page, pages, total } = await api.fetchPage(1, signal);
        store.newest = { items: images, page, pages, total, isLoading: false, isStale: false };
      } catch (error) {
        if (!isAbort(error)) this.#showProblem(route, toProblem(error));
        return;
      }
    }
    const { items, total } = store.newest;
    this.#list(items, false, y);
    this.#showHeading(translate('newest'), translate('pictures', { n: total }));
    document.body.classList.toggle('empty', !total);
    if (!total) placeholder.showEmptyLibrary([this.#callbacks.createAddFolder()]);
  }

  /** Load the next page of the newest pictures, if they are shown and there is one. */
  async loadMore() {
    const { api, store, grid } = this.#parts;
    const { newest } = store;
    if (!newest || grid.items !== newest.items || newest.page >= newest.pages || newest.isLoading) return;
    newest.isLoading = true;
    try {
      const { images, page } = await api.fetchPage(newest.page + 1, this.#request.signal);
      if (grid.items !== newest.items) return;
      const known = new Set(newest.items.map(({ id }) => id)); // pictures may have come in between
      newest.items = [...newest.items, ...images.filter(({ id }) => !known.has(id))];
      newest.page = page;
      newest.isLoading = false;
      grid.extend(newest.items);
      this.#callbacks.onListed();
      grid.planDrawing();
    } catch {
      // scrolling on asks again
    } finally {
      newest.isLoading = false;
    }
  }

  /**
   * @param {readonly Item[]} items
   * @param {boolean} isScored
   * @param {number} [y] Pixels to scroll to.
   */
  #list(items, isScored, y = 0) {
    document.body.classList.remove('busy', 'empty');
    this.#parts.grid.show(items, isScored);
    scrollTo(0, y);
    this.#callbacks.onListed();
  }

  /** @param {string} text How the words of a query were read; empty to say nothing. */
  #showReading(text) {
    const line = getElement('reading');
    line.textContent = text;
    line.hidden = !text;
  }

  /** @param {string} text */
  #showBusy(text) {
    document.body.classList.add('busy');
    getElement('summary').textContent = text;
  }

  /**
   * @param {string} title
   * @param {string} summary
   */
  #showHeading(title, summary) {
    getElement('results-title').textContent = title;
    getElement('summary').textContent = summary;
  }

  /**
   * @param {Route} route
   * @param {Problem} problem
   */
  #showProblem(route, problem) {
    const { panel, placeholder } = this.#parts;
    this.hasFailed = true;
    this.#list([], true);
    this.#showHeading('', '');
    document.body.classList.toggle('alone', !route.crop); // a crop that is refused can be drawn anew
    if (problem.code === 'library_empty') {
      const keep = { text: translate('keep'), act: () => panel.keep() };
      const addFolder = this.#callbacks.createAddFolder();
      placeholder.showEmptyLibrary(panel.keepable ? [addFolder, keep] : [addFolder]);
    } else placeholder.showProblem(problem, () => this.load(route));
  }
}
