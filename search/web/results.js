// The pictures that are shown: the hits of a query, or the library's newest.

import { classifyHits } from './cutoff.js';
import { getElement } from './dom.js';
import { countProofs, nameCompared } from './evidence.js';
import { translate } from './i18n.js';
import { getStorage, readPreferences } from './preferences.js';
import { Problem, isAbort, isTemporary, toProblem } from './problems.js';
import { buildQuery, isPictureQuery, isTextQuery, listFiles } from './query.js';
import { MAX_K, isAddress, isWords, listConditions, parseFile, parseId } from './route.js';
import { describeReading } from './suggest.js';

/** @import { Answer, Api, Item } from './api.js' */
/** @import { Grid, Rating } from './grid.js' */
/** @import { Action, Placeholder } from './placeholder.js' */
/** @import { QueryPanel } from './query-panel.js' */
/** @import { QueryTerm, Route } from './route.js' */
/** @import { Store } from './store.js' */

/**
 * What the results call.
 * @typedef {object} Callbacks
 * @property {() => void} onListed Other pictures are in the grid.
 * @property {(route: Route, id: string, answer: Answer) => Route} onRecognized The library holds the
 *   picture that a route has uploaded. Returns the route that has the answer from now on.
 * @property {(route: Route) => void} onLoading The pictures of a route are requested.
 * @property {(route: Route) => void} onLost Restored pictures are in this browser no more. Gets the route that has
 *   their originals in their place.
 * @property {() => Action} createAddFolder
 */

/**
 * The parts that results are shown with.
 * @typedef {{ api: Api, store: Store, grid: Grid, panel: QueryPanel, placeholder: Placeholder }} Parts
 */

/** Problems of one picture, which the other pictures of a query do not have. */
const PICTURE_PROBLEMS = Object.freeze([
  'not_a_picture', 'picture_too_large', 'not_found', 'input_invalid', 'upload_broken', 'too_large', 'query_invalid',
]);

const PAUSE_MS = 150; // before hits are compared, so that a query that is still changing costs nothing

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

  /** Leave the request for pictures alone, since something else is shown. */
  stop() {
    this.#request.abort();
    document.body.classList.remove('is-busy', 'is-empty');
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
    const isQuery = route.terms.length > 0 || route.newIn !== '';
    const isList = route.where.length > 0 || route.isHidden || route.sort !== '';
    document.body.classList.toggle('has-request', isQuery || isList);
    document.body.classList.toggle('without-query', isTextQuery(route) || !route.terms.length);
    getElement('more').hidden = true;
    this.#showReading('');
    this.#parts.placeholder.hide();
    getElement('results-title').textContent = translate(isQuery || isList ? 'results_title' : 'newest');
    this.#callbacks.onLoading(route);
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
    const { store, panel, placeholder } = this.#parts;
    const hasFiles = await store.files.load(listFiles(route));
    if (signal.aborted) return;
    const original = hasFiles ? route : this.#undoLost(route);
    if (original !== route) {
      this.#callbacks.onLost(original);
      return;
    }
    if (!hasFiles) {
      document.body.classList.remove('has-request');
      this.#list([]);
      placeholder.show('image', translate('problem_picture_lost'), translate('lost_upload_hint'));
      return;
    }
    if (route.terms.length) panel.show(route.terms);
    this.#showBusy(translate('searching'));
    try {
      const answer = store.getAnswer(route) ?? (await this.#fetchAnswer(route, signal));
      if (signal.aborted) return;
      store.addAnswer(route, answer);
      if (answer.problems) panel.showProblems(answer.problems);
      this.#showAnswer(route, answer, y);
      await this.#compare(await this.#recognize(route, answer), answer, signal);
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) this.#showProblem(route, toProblem(error));
    }
  }

  /**
   * Put the originals in the place of restored pictures that this browser does not have any more.
   * @param {Route} route
   * @returns {Route} The same one if there are none.
   */
  #undoLost(route) {
    const { files } = this.#parts.store;
    /** @type {(term: QueryTerm) => QueryTerm} */
    const undo = (term) => {
      const number = parseFile(term.what);
      return number !== null && term.from && !files.get(number) ? term.from.term : term;
    };
    const terms = route.terms.map(undo);
    return terms.every((term, i) => term === route.terms[i]) ? route : { ...route, terms };
  }

  /**
   * Search. Pictures of several that cannot be used are left out, and named in `problems`.
   * @param {Route} route
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  async #fetchAnswer(route, signal) {
    try {
      return await this.#send(route, signal);
    } catch (error) {
      const problem = toProblem(error);
      const pictures = route.terms.filter((term) => !isWords(term));
      if (isAbort(error) || pictures.length < 2 || route.newIn || !PICTURE_PROBLEMS.includes(problem.code)) throw error;
      const problems = await this.#findBadPictures(pictures, signal);
      const terms = route.terms.filter(({ what }) => !problems.has(what));
      if (!problems.size || !terms.some(({ weight }) => weight > 0)) throw error;
      return { ...(await this.#send({ ...route, terms }, signal)), problems };
    }
  }

  /**
   * @param {Route} route
   * @param {AbortSignal} signal
   * @param {{ verify?: true }} [more] What else the query says.
   */
  async #send(route, signal, more = {}) {
    const { api, store } = this.#parts;
    const blobs = listFiles(route).map((number) => store.files.get(number)?.blob ?? new Blob());
    const answer = route.newIn
      ? await api.runSavedSearch(route.newIn, signal)
      : await api.search({ ...buildQuery(route), ...more }, blobs, signal);
    const pictures = route.terms.filter((term) => !isWords(term)).map(({ what }) => what);
    return { ...answer, hits: nameCompared(answer.hits, answer.query.terms, pictures) };
  }

  /**
   * Ask again for hits that are compared closely with the query, and show what that proves. Without an answer, the hits
   * stay as they are.
   * @param {Route} route
   * @param {Answer} answer
   * @param {AbortSignal} signal
   */
  async #compare(route, answer, signal) {
    const isWanted = isPictureQuery(route) && !route.newIn && readPreferences(getStorage()).verifies;
    if (!isWanted || route.kind || answer.isCompared || !answer.hits.length) return; // a kind is compared at once
    await new Promise((resolve) => {
      setTimeout(resolve, PAUSE_MS);
    });
    if (signal.aborted) return;
    const terms = route.terms.filter(({ what }) => !answer.problems?.has(what));
    try {
      const { hits } = await this.#send({ ...route, terms }, signal, { verify: true });
      if (signal.aborted) return;
      const compared = { ...answer, hits, isCompared: true };
      this.#parts.store.addAnswer(route, compared);
      this.#showAnswer(route, compared, null);
    } catch (error) {
      if (!(error instanceof Problem) && !isAbort(error)) throw error;
    }
  }

  /**
   * Ask for each picture by itself, and return why some cannot be used.
   * @param {readonly QueryTerm[]} terms
   * @param {AbortSignal} signal
   */
  async #findBadPictures(terms, signal) {
    const { api, store } = this.#parts;
    const problems = /** @type {Map<string, Problem>} */ (new Map());
    for (const { what } of terms) {
      const id = parseId(what);
      const file = store.files.get(parseFile(what) ?? -1);
      try {
        if (id) await api.fetchImage(id, signal);
        else await api.fetchPreview(isAddress(what) ? what : (file?.blob ?? new Blob()), signal);
      } catch (error) {
        const problem = toProblem(error);
        if (isAbort(error) || isTemporary(problem)) throw error;
        problems.set(what, problem);
      }
    }
    return problems;
  }

  /**
   * @param {Route} route
   * @param {Answer} answer
   * @param {number | null} y Pixels to scroll to; null to stay with what is looked at.
   */
  #showAnswer(route, answer, y) {
    const { hits } = answer;
    const reading = describeReading(answer, translate);
    const own = route.terms.map(({ what }) => parseId(what)).filter((id) => id !== null);
    const least = answer.understood.length === 1 ? answer.understood[0].least_probability : null;
    const byScore = route.sort ? [...hits].sort((a, b) => b.score - a.score) : hits;
    const { likeness: inOrder, alike, end } = classifyHits(byScore, own, least);
    const places = new Map(byScore.map((hit, i) => [hit, i]));
    const likeness = hits.map((hit) => inOrder[places.get(hit) ?? 0]);
    const isOfWords = isTextQuery(route);
    const divider = end === null || route.sort ? null : { start: end, text: translate(isOfWords ? 'divider_words' : 'divider') };
    this.#list(hits, { likeness, isOfWords, divider }, y);
    const time = translate('took', { n: Math.round(answer.took_ms.total) });
    const count = alike === null ? '' : translate(isOfWords ? 'fitting_then' : 'alike_then', { n: alike });
    const proofs = countProofs(hits.filter((_, i) => likeness[i] !== 'own'));
    const proven = /** @type {const} */ (['edited', 'photographed_again']).filter((proof) => proofs[proof])
      .map((proof) => translate(`proofs_${proof}`, { n: proofs[proof] }));
    const summary = [count, ...proven, time, answer.model].filter(Boolean).join(' · ');
    const { newIn: name } = route;
    const title = name ? 'saved_only_new_title' : hits.length < route.k ? 'results' : 'results_first';
    this.#showHeading(translate(title, { n: hits.length, name }), summary);
    getElement('more').hidden = Boolean(name) || hits.length < route.k || route.k >= MAX_K;
    this.#showReading(hits.length ? reading : '');
    if (!hits.length) this.#parts.placeholder.show('search', translate(name ? 'saved_none_new' : 'no_results'), reading || this.#adviseOnNone(route));
  }

  /**
   * Say what may be left out, so that there are results.
   * @param {Route} route
   */
  #adviseOnNone(route) {
    if (route.newIn) return '';
    if (!route.terms.length) return route.where.length ? translate('no_pictures_hint') : '';
    return route.min !== null || route.where.length ? translate('no_results_hint') : '';
  }

  /**
   * Look for an uploaded picture in the library by its content: there it has an address.
   * @param {Route} route
   * @param {Answer} answer
   * @returns {Promise<Route>} The route that has the answer.
   */
  async #recognize(route, answer) {
    const [number] = listFiles(route);
    const blob = this.#parts.store.files.get(number ?? -1)?.blob;
    if (!blob || route.terms.length > 1 || !crypto.subtle) return route; // browsers give no digest without TLS
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));
    const id = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return answer.hits.some((hit) => hit.id === id) ? this.#callbacks.onRecognized(route, id, answer) : route;
  }

  /**
   * @param {Route} route
   * @param {number} y
   * @param {AbortSignal} signal
   */
  async #loadNewest(route, y, signal) {
    const { api, store, placeholder } = this.#parts;
    const key = JSON.stringify({ where: listConditions(route), sort: route.sort, isHidden: route.isHidden });
    if (!store.newest || store.newest.isStale || store.newest.key !== key) {
      this.#showBusy(translate('loading'));
      try {
        const { images, next, total } = await api.fetchPage({ ...JSON.parse(key), cursor: '' }, signal);
        store.newest = { key, items: images, next, total, isLoading: false, isStale: false };
      } catch (error) {
        if (!isAbort(error)) this.#showProblem(route, toProblem(error));
        return;
      }
    }
    const { items, total } = store.newest;
    this.#list(items, null, y);
    if (route.where.length || route.isHidden) {
      const title = route.isHidden ? 'hidden_pictures' : 'results';
      this.#showHeading(translate(title, { n: total }), route.isHidden ? translate('pictures', { n: total }) : '');
      if (!total) placeholder.show('search', translate('no_pictures'), this.#adviseOnNone(route));
      return;
    }
    const title = translate(route.sort && route.sort !== '-added' ? 'library_title' : 'newest');
    this.#showHeading(title, translate('pictures', { n: total }));
    document.body.classList.toggle('is-empty', !total);
    if (!total) placeholder.showEmptyLibrary([this.#callbacks.createAddFolder()]);
  }

  /** Pictures of the list, also those that are not loaded yet. */
  get total() {
    const { grid, store: { newest } } = this.#parts;
    return newest && grid.items === newest.items ? newest.total : grid.items.length;
  }

  /**
   * Load the next pages of the newest pictures.
   * @param {number} most Pictures.
   */
  async loadAll(most) {
    const { grid } = this.#parts;
    for (let n = -1; n < grid.items.length && grid.items.length < Math.min(most, this.total);) {
      n = grid.items.length;
      await this.loadMore();
    }
  }

  /** Load the next page of the newest pictures, if they are shown and there is one. */
  async loadMore() {
    const { api, store, grid } = this.#parts;
    const { newest } = store;
    if (!newest || grid.items !== newest.items || newest.next === null || newest.isLoading) return;
    newest.isLoading = true;
    try {
      const list = { ...JSON.parse(newest.key), cursor: newest.next };
      const { images, next } = await api.fetchPage(list, this.#request.signal);
      if (grid.items !== newest.items) return;
      const known = new Set(newest.items.map(({ id }) => id)); // pictures may have come in between
      newest.items = [...newest.items, ...images.filter(({ id }) => !known.has(id))];
      newest.next = next;
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
   * @param {Rating | null} [rating] Null for pictures that are not the answer to a query.
   * @param {number | null} [y] Pixels to scroll to; null to stay with what is looked at.
   */
  #list(items, rating = null, y = 0) {
    document.body.classList.remove('is-busy', 'is-empty');
    if (y === null) this.#parts.grid.update(items, rating);
    else {
      this.#parts.grid.show(items, rating);
      scrollTo(0, y);
    }
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
    document.body.classList.add('is-busy');
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
    this.#list([]);
    this.#showHeading(translate('results_title'), '');
    const isEmpty = problem.code === 'library_empty';
    const isMendable = route.terms.length > 1 || route.terms.some(({ crop }) => crop); // in the panel
    document.body.classList.toggle('without-query', isTextQuery(route) || !(isEmpty || isMendable));
    if (isEmpty) {
      const keep = { text: translate('keep'), act: () => panel.keep() };
      const addFolder = this.#callbacks.createAddFolder();
      placeholder.showEmptyLibrary(panel.keepable ? [addFolder, keep] : [addFolder]);
    } else placeholder.showProblem(problem, () => this.load(route));
  }
}
