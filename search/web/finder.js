// The filters beside the results: what the pictures of the present answer have, with counts. A
// sidebar on wide screens, a sheet on others.

import { AlbumList } from './album-list.js';
import { exchangeCondition, isSameCondition, parseCondition, toggleCondition, writeNameCondition } from './conditions.js';
import { createElement, getElement } from './dom.js';
import { createFacetList, createTool } from './facet-list.js';
import { FolderTree } from './folder-tree.js';
import { translate, translator } from './i18n.js';
import { getStorage, readPreferences, writePreferences } from './preferences.js';
import { formatProblem, isAbort, toProblem } from './problems.js';
import { RangeForm } from './range-form.js';

/** @import { Api, Facets } from './api.js' */
/** @import { AskDialog } from './ask.js' */
/** @import { Route } from './route.js' */
/** @import { TextKey } from './texts.js' */

const WIDE = '(min-width: 1100px)';
const GROUPS = Object.freeze(/** @type {const} */ ([
  'marks', 'collection', 'folder', 'album', 'tag', 'date', 'color', 'type', 'shape', 'camera', 'label', 'has', 'range',
]));
const CLOSED = Object.freeze(['camera', 'label', 'has', 'shape']);
const FIELDS = Object.freeze([
  'is', 'rating', 'collection', 'tag', 'year', 'month', 'color', 'type', 'shape', 'camera', 'label', 'has',
]);

/**
 * What the filters call.
 * @typedef {object} Callbacks
 * @property {(change: Partial<Route>) => void} onChange
 * @property {() => void} onEdit Tags or albums were changed.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

export class Finder {
  #api;
  #ask;
  #callbacks;
  #content = getElement('finder-content');
  #aside = getElement('finder');
  #sheet = getElement('finder-sheet', HTMLDialogElement);
  #button = getElement('filters-open', HTMLButtonElement);
  #request = new AbortController();
  #wide = matchMedia(WIDE);
  #isOpen = false;
  #bodies = /** @type {Record<typeof GROUPS[number], HTMLElement>} */ ({});
  #tree;
  #albums;
  #ranges;

  /** @type {Route | null} */
  #route = null;

  /** Ids of the pictures of an answer, or null for all that the conditions select. @type {string[] | null} */
  #ids = null;

  /**
   * @param {Api} api
   * @param {AskDialog} ask
   * @param {Callbacks} callbacks
   */
  constructor(api, ask, callbacks) {
    this.#api = api;
    this.#ask = ask;
    this.#callbacks = callbacks;
    const onToggle = (/** @type {string} */ condition) => this.#toggle(condition);
    this.#tree = new FolderTree(api, onToggle);
    this.#albums = new AlbumList(api, ask, {
      ...callbacks, onToggle, onRename: (name, other) => this.#follow('album', name, other),
    });
    this.#ranges = new RangeForm(api, (where) => callbacks.onChange({ where, from: '' }));
    for (const name of GROUPS) this.#createGroup(name);
    this.#bodies.folder.append(this.#tree.element);
    this.#bodies.album.append(this.#albums.element);
    this.#bodies.range.append(this.#ranges.element);
    getElement('filters-clear').addEventListener('click', () => callbacks.onChange({ where: [], from: '' }));
    this.#button.addEventListener('click', () => (this.#isOpen ? this.close() : this.open()));
    for (const button of document.querySelectorAll('[data-filters-close]')) button.addEventListener('click', () => this.close());
    this.#sheet.addEventListener('close', () => {
      if (!this.#wide.matches) this.#setOpen(false);
    });
    this.#wide.addEventListener('change', () => this.#place());
    if (this.#wide.matches && readPreferences(getStorage()).showsFilters) this.#setOpen(true);
  }

  open() {
    this.#setOpen(true);
    if (this.#wide.matches) writePreferences(getStorage(), { showsFilters: true });
  }

  close() {
    this.#setOpen(false);
    if (this.#wide.matches) writePreferences(getStorage(), { showsFilters: false });
    this.#button.focus();
  }

  /** @param {boolean} isOpen */
  #setOpen(isOpen) {
    this.#isOpen = isOpen;
    this.#button.setAttribute('aria-expanded', String(isOpen));
    this.#place();
    if (isOpen) this.#update();
  }

  /** Put the filters where the window has room for them. */
  #place() {
    const isSidebar = this.#isOpen && this.#wide.matches;
    document.body.classList.toggle('finding', isSidebar);
    this.#aside.hidden = !isSidebar;
    (isSidebar ? this.#aside : this.#sheet).append(this.#content);
    if (this.#isOpen && !isSidebar && !this.#sheet.open) this.#sheet.showModal();
    if ((isSidebar || !this.#isOpen) && this.#sheet.open) this.#sheet.close();
  }

  /**
   * Show the conditions of a route.
   * @param {Route} route
   */
  show(route) {
    this.#route = route;
    const { length: n } = route.where;
    const buttons = /** @type {NodeListOf<HTMLElement>} */ (this.#content.querySelectorAll('[data-where]'));
    for (const button of buttons) {
      const isActive = route.where.some((one) => isSameCondition(one, button.dataset.where ?? ''));
      button.setAttribute('aria-pressed', String(isActive));
    }
    getElement('filters-label').textContent = n ? translate('filters_n', { n }) : translate('filters');
    getElement('filters-clear').hidden = !n;
    getElement('finder-hidden').hidden = !route.isHidden;
    getElement('finder-groups').hidden = route.isHidden;
  }

  /**
   * Count the pictures that are shown.
   * @param {string[] | null} ids Those of an answer, or null for all that the conditions select.
   */
  count(ids) {
    this.#ids = ids;
    if (this.#isOpen) this.#update();
  }

  /** @param {typeof GROUPS[number]} name */
  #createGroup(name) {
    const body = createElement('div', { class: 'group-body' });
    const title = translate(/** @type {TextKey} */ (`group_${name}`));
    const details = createElement('details', { class: 'group', open: !CLOSED.includes(name), 'data-group': name },
      createElement('summary', {}, createElement('h3', { text: title })), body);
    this.#bodies[name] = body;
    getElement('finder-groups').append(details);
  }

  async #update() {
    const route = this.#route;
    if (!route || route.isHidden) return;
    this.#request.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    this.#ranges.show(route.where);
    const problem = getElement('finder-problem');
    try {
      const counting = this.#ids
        ? this.#api.countAnswer(this.#ids, FIELDS, signal)
        : this.#api.countPictures(route.where, FIELDS, signal);
      const [facets] = await Promise.all([
        counting, this.#tree.show(route.where, signal), this.#albums.show(route.where, signal),
      ]);
      if (signal.aborted) return;
      problem.hidden = true;
      this.#showFacets(facets, route.where);
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      problem.hidden = false;
      problem.textContent = formatProblem(toProblem(error), translator);
    }
  }

  /**
   * @param {Facets} facets
   * @param {readonly string[]} where
   */
  #showFacets({ fields }, where) {
    const active = document.activeElement;
    const focused = active && this.#content.contains(active) ? active.getAttribute('data-where') : null;
    const group = active?.closest('[data-group]')?.getAttribute('data-group');
    const onToggle = (/** @type {string} */ condition) => this.#toggle(condition);
    for (const name of /** @type {const} */ (['collection', 'type', 'shape', 'color', 'camera', 'label', 'has'])) {
      this.#bodies[name].replaceChildren(createFacetList({ field: name, facets: fields[name] ?? [], where, onToggle }));
    }
    const hasCollection = fields.collection?.length || where.some((one) => parseCondition(one)?.field === 'collection');
    this.#bodies.collection.closest('details')?.toggleAttribute('hidden', !hasCollection);
    this.#bodies.tag.replaceChildren(createFacetList({
      field: 'tag', facets: fields.tag ?? [], where, onToggle, createTools: (tag) => this.#createTagTools(tag), none: translate('tag_none'),
    }));
    const isYear = (/** @type {string} */ value) => value.length <= 4;
    const years = where.map(parseCondition).filter((one) => one?.field === 'date' && one.sign === '=').map((one) => one?.value.slice(0, 4));
    const months = (fields.month ?? []).filter(({ value }) => years.includes(value.slice(0, 4)));
    const dates = [createFacetList({ field: 'date', facets: fields.year ?? [], where, onToggle, accepts: isYear })];
    if (months.length) dates.push(createFacetList({ field: 'date', facets: months, where, onToggle, accepts: (value) => !isYear(value) }));
    this.#bodies.date.replaceChildren(...dates);
    const marks = [
      createFacetList({ field: 'is', facets: fields.is ?? [], where, onToggle }),
      createFacetList({ field: 'rating', facets: fields.rating ?? [], where, onToggle }),
    ].filter((list) => list.tagName !== 'P');
    const hidden = createElement('button', { type: 'button', class: 'button-secondary write-action', text: translate('hidden_show') });
    hidden.addEventListener('click', () => this.#callbacks.onChange({ terms: [], where: [], from: '', isHidden: true }));
    this.#bodies.marks.replaceChildren(...marks, hidden);
    if (focused) {
      const same = /** @type {NodeListOf<HTMLElement>} */ (this.#content.querySelectorAll(`[data-group="${group}"] [data-where]`));
      [...same].find((one) => one.dataset.where === focused)?.focus();
    }
  }

  /** @param {string} condition */
  #toggle(condition) {
    const where = toggleCondition(this.#route?.where ?? [], condition);
    this.#callbacks.onChange({ where, from: '', see: '' });
  }

  /**
   * Keep the pictures of a tag or an album that has another name now.
   * @param {'tag' | 'album'} field
   * @param {string} name
   * @param {string} other
   */
  #follow(field, name, other) {
    const where = this.#route?.where ?? [];
    const condition = writeNameCondition(field, name);
    if (!where.some((one) => isSameCondition(one, condition))) return;
    this.#callbacks.onChange({ where: exchangeCondition(where, condition, writeNameCondition(field, other)), from: '', see: '' });
  }

  /** @param {string} tag */
  #createTagTools(tag) {
    return [createTool('edit', translate('tag_rename', { name: tag }), () => this.#renameTag(tag))];
  }

  /** @param {string} tag */
  async #renameTag(tag) {
    const name = await this.#ask.askText({
      title: translate('tag_rename', { name: tag }), label: translate('tag_name'), confirm: translate('rename'), value: tag,
      suggest: async (prefix) => (await this.#api.fetchTags(prefix)).tags.map((one) => one.tag),
    });
    if (!name || name === tag) return;
    try {
      const { pictures } = await this.#api.renameTag(tag, name);
      this.#callbacks.showToast(translate('tag_renamed', { n: pictures, name }));
      this.#callbacks.onEdit();
      this.#follow('tag', tag, name);
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    }
  }
}
