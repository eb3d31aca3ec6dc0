// The saved searches, with how many pictures are new in each: on the start page, and among the filters.

import { createElement, createIcon, getElement } from './dom.js';
import { createTool } from './facet-list.js';
import { translate, translator } from './i18n.js';
import { formatProblem, isAbort, toProblem } from './problems.js';
import { buildQuery, listFiles } from './query.js';
import { START, isAddress, parseId } from './route.js';
import { buildRoute, nameStored } from './saved-query.js';

/** @import { Api, SavedSearch } from './api.js' */
/** @import { AskDialog } from './ask.js' */
/** @import { FileStore } from './file-store.js' */
/** @import { Route } from './route.js' */
/** @import { SavedPicture } from './saved-query.js' */

const MOST_NAME = 200; // characters

/**
 * What is new in a search. newest: what to mark as seen. problem: why it cannot be said.
 * @typedef {{ count: number, newest: number, problem: string }} News
 */

/**
 * What the list calls.
 * @typedef {object} Callbacks
 * @property {(route: Route) => void} onOpen
 * @property {(name: string) => void} onSeen All pictures of a search were marked as seen.
 * @property {(name: string, other: string) => void} onRename A search has another name, or none any more.
 * @property {() => string} getName A name for the present query.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

export class SavedSearches {
  #api;
  #ask;
  #files;
  #callbacks;
  #counting = new AbortController();

  /** @type {SavedSearch[]} */
  #searches = [];

  /** What is new, by name. @type {Map<string, News>} */
  #news = new Map();

  /** Numbers of the pictures that are in the store of files, by search and place. @type {Map<string, number>} */
  #numbers = new Map();

  /** @type {Route} */
  #route = START;

  /**
   * @param {Api} api
   * @param {AskDialog} ask
   * @param {FileStore} files
   * @param {Callbacks} callbacks
   */
  constructor(api, ask, files, callbacks) {
    this.#api = api;
    this.#ask = ask;
    this.#files = files;
    this.#callbacks = callbacks;
    getElement('search-save').addEventListener('click', () => this.#attempt(() => this.#save()));
  }

  /**
   * Offer to save what a route searches for.
   * @param {Route} route
   */
  show(route) {
    this.#route = route;
    const isSearch = route.terms.length > 0 || route.where.length > 0;
    getElement('search-save').hidden = !isSearch || Boolean(route.newIn) || route.isHidden;
  }

  /** Ask for the searches and count what is new in them. A problem is shown with the pictures. */
  async refresh() {
    this.#counting.abort();
    this.#counting = new AbortController();
    const { signal } = this.#counting;
    try {
      const { searches } = await this.#api.fetchSavedSearches(signal);
      this.#searches = searches;
      const names = new Set(searches.map(({ name }) => name));
      for (const name of this.#news.keys()) if (!names.has(name)) this.#news.delete(name);
      this.#showAll();
      for (const { name } of searches) await this.#count(name, signal);
    } catch {
      // the request for the pictures has the same problem, or another look is taken
    }
  }

  /**
   * @param {string} name
   * @param {AbortSignal} signal
   */
  async #count(name, signal) {
    try {
      const { hits, newest } = await this.#api.runSavedSearch(name, signal);
      this.#news.set(name, { count: hits.length, newest, problem: '' });
    } catch (error) {
      if (isAbort(error)) throw error;
      this.#news.set(name, { count: 0, newest: 0, problem: formatProblem(toProblem(error), translator) });
    }
    this.#showAll();
  }

  /**
   * Mark all pictures of a search as seen.
   * @param {string} name
   * @param {number} newest Of the answer that was seen.
   */
  markSeen(name, newest) {
    return this.#attempt(async () => {
      await this.#api.markSavedSearch(name, newest);
      this.#news.set(name, { count: 0, newest, problem: '' });
      this.#showAll();
      this.#callbacks.showToast(translate('saved_marked', { name }));
      this.#callbacks.onSeen(name);
      this.refresh();
    });
  }

  /** Ask for a name, and save the present query under it. */
  async #save() {
    const query = buildQuery(this.#route);
    const blobs = listFiles(this.#route).map((number) => this.#files.get(number)?.blob ?? new Blob());
    const value = this.#callbacks.getName().replaceAll('/', ' ').trim().slice(0, MOST_NAME);
    const isOpen = this.#route.terms.length > 0 && this.#route.min === null && !this.#route.kind;
    const name = await this.#ask.askText({
      title: translate('search_save'), label: translate('saved_name'), confirm: translate('save'), value,
      text: translate(isOpen ? 'saved_hint_score' : 'saved_hint'), suggest: async () => this.#searches.map((one) => one.name),
    });
    if (!name || !this.#checkName(name)) return;
    const isTaken = this.#searches.some((one) => one.name === name);
    if (isTaken) {
      const question = { title: translate('saved_replace', { name }), text: '', confirm: translate('replace'), pictures: [] };
      if (!(await this.#ask.confirm(question))) return;
    }
    const first = isTaken ? `${name.slice(0, MOST_NAME - 40)} ${crypto.getRandomValues(new Uint32Array(2)).join('')}` : name;
    await this.#api.saveSearch(first, query, blobs);
    if (isTaken) {
      await this.#api.deleteSavedSearch(name); // only now: nothing is lost if the other cannot be saved
      await this.#api.renameSavedSearch(first, name);
    }
    this.#callbacks.showToast(translate('saved_done', { name }));
    await this.refresh();
  }

  /** @param {string} name */
  #checkName(name) {
    if (!name.includes('/')) return true;
    this.#callbacks.showToast(translate('saved_name_slash'));
    return false;
  }

  #showAll() {
    const isNone = !this.#searches.length;
    for (const id of ['saved-start', 'saved-group']) getElement(id).hidden = isNone;
    this.#showList(getElement('saved-start-list'), false);
    this.#showList(getElement('saved-list'), true);
  }

  /**
   * @param {HTMLElement} list
   * @param {boolean} hasTools
   */
  #showList(list, hasTools) {
    const focused = list.contains(document.activeElement) ? document.activeElement?.getAttribute('data-key') : null;
    list.replaceChildren(...this.#searches.map((search) => this.#createRow(search, hasTools)));
    if (!focused) return;
    const buttons = [.../** @type {NodeListOf<HTMLElement>} */ (list.querySelectorAll('[data-key]'))];
    const same = buttons.find((one) => one.dataset.key === focused);
    (same ?? buttons.find((one) => one.dataset.key === focused.replace(/^\w+ /, 'open ')))?.focus();
  }

  /**
   * @param {SavedSearch} search
   * @param {boolean} hasTools
   */
  #createRow(search, hasTools) {
    const { name } = search;
    const { count = 0, newest = 0, problem = '' } = this.#news.get(name) ?? {};
    const open = createElement('button', {
      type: 'button', class: hasTools ? 'facet' : 'saved-open', 'data-key': `open ${name}`,
      title: translate('saved_open', { name }), click: () => this.#attempt(() => this.#open(search, false)),
    }, createElement('span', { class: 'facet-name', text: name }));
    const label = translate('saved_new_in', { n: count, name });
    const badge = createElement('button', {
      type: 'button', class: 'saved-new', 'data-key': `new ${name}`, 'aria-label': label, title: label,
      text: translate('saved_new', { n: count }), click: () => this.#attempt(() => this.#open(search, true)),
    });
    const warning = createElement('span', { class: 'saved-problem', role: 'img', 'aria-label': problem, title: problem }, createIcon('warning'));
    const tools = [
      ...(count ? [createTool('check', translate('saved_seen', { name }), () => this.markSeen(name, newest))] : []),
      createTool('edit', translate('saved_rename', { name }), () => this.#attempt(() => this.#rename(name))),
      createTool('bin', translate('saved_delete', { name }), () => this.#attempt(() => this.#delete(name))),
    ];
    for (const tool of tools) tool.setAttribute('data-key', `${tool.querySelector('use')?.getAttribute('href')?.slice(3)} ${name}`);
    return createElement('li', {}, open, ...(count ? [badge] : []), ...(problem ? [warning] : []), ...(hasTools ? tools : []));
  }

  /**
   * Show a search as the page has it.
   * @param {SavedSearch} search
   * @param {boolean} isNew Whether only what is new is shown.
   */
  async #open(search, isNew) {
    const { route, leftOut } = buildRoute(search.query, await this.#loadPictures(search));
    if (!isNew && !route.terms.length && !route.where.length) {
      this.#callbacks.showToast(translate('saved_not_shown'));
      return;
    }
    if (!isNew && leftOut.length) {
      const parts = leftOut.map((part) => translate(`saved_part_${part}`)).join(', ');
      this.#callbacks.showToast(translate('saved_left_out', { parts }));
    }
    this.#callbacks.onOpen(isNew ? { ...route, newIn: search.name } : route);
  }

  /**
   * Load the pictures of a query, as far as they are needed.
   * @param {SavedSearch} search
   */
  async #loadPictures({ name, created, query }) {
    const pictures = /** @type {Map<string | number, SavedPicture>} */ (new Map());
    for (const { image, crop } of query.terms) {
      if (image === undefined) continue;
      const needsSize = Boolean(crop?.some((part) => typeof part === 'number'));
      const id = typeof image === 'string' ? parseId(image) : null;
      if (typeof image === 'number') pictures.set(image, await this.#loadFile(name, created, image, needsSize));
      else if (id) {
        const { width = 0, height = 0 } = needsSize ? await this.#api.fetchImage(id) : {};
        pictures.set(image, { what: nameStored(id), size: needsSize ? [width, height] : null });
      } else if (isAddress(image)) pictures.set(image, { what: image, size: null });
    }
    return pictures;
  }

  /**
   * Load a picture that was saved with a search into the store of files.
   * @param {string} name
   * @param {number} created
   * @param {number} place
   * @param {boolean} needsSize
   * @returns {Promise<SavedPicture>}
   */
  async #loadFile(name, created, place, needsSize) {
    const key = `${created} ${place}`;
    let number = this.#numbers.get(key);
    if (number === undefined || !this.#files.get(number)) {
      const blob = await this.#api.fetchSavedPicture(name, place);
      [number] = this.#files.add([new File([blob], name)]);
      this.#numbers.set(key, number);
    }
    const blob = this.#files.get(number)?.blob;
    const bitmap = needsSize && blob ? await createImageBitmap(blob).catch(() => null) : null;
    return { what: `file:${number}`, size: bitmap ? [bitmap.width, bitmap.height] : null };
  }

  /** @param {string} name */
  async #rename(name) {
    const other = await this.#ask.askText({
      title: translate('saved_rename', { name }), label: translate('saved_name'), confirm: translate('rename'), value: name,
      suggest: async () => [],
    });
    if (!other || other === name || !this.#checkName(other)) return;
    await this.#api.renameSavedSearch(name, other);
    this.#callbacks.onRename(name, other);
    await this.refresh();
  }

  /** @param {string} name */
  async #delete(name) {
    const isConfirmed = await this.#ask.confirm({
      title: translate('saved_delete_question', { name }), text: translate('saved_delete_hint'),
      confirm: translate('saved_delete_confirm'), pictures: [],
    });
    if (!isConfirmed) return;
    await this.#api.deleteSavedSearch(name);
    this.#callbacks.showToast(translate('saved_deleted', { name }));
    this.#callbacks.onRename(name, '');
    await this.refresh();
  }

  /** @param {() => Promise<unknown>} act */
  async #attempt(act) {
    try {
      await act();
    } catch (error) {
      if (!isAbort(error)) this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    }
  }
}
