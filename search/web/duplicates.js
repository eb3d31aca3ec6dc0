// The groups of duplicates: exact ones, copies, and pictures that are much alike, each with what is
// kept. The others go to the bin, once that is confirmed, and come back.

import { getAddress } from './api.js';
import { describeCondition } from './conditions.js';
import { createElement, createIcon, getElement, moveFocus } from './dom.js';
import { GroupItem } from './duplicate-group.js';
import { translate, translator } from './i18n.js';
import { getDirection, getDuplicateAction, getEnd, isBrowserShortcut } from './keyboard.js';
import { Problem, formatProblem, isAbort, toProblem } from './problems.js';
import { DUPLICATE_KINDS, KEEP_RULES, START, formatRoute } from './route.js';

/** @import { Api, Duplicates } from './api.js' */
/** @import { AskDialog } from './ask.js' */
/** @import { Route } from './route.js' */

const PAGE = 50; // groups
const MOST_SHOWN = 6; // pictures of a question
const WAIT_MS = 1000; // between two looks at the job that compares pictures
const AHEAD = '1200px'; // from the end at which more groups are loaded

/**
 * What the view calls.
 * @typedef {object} Callbacks
 * @property {(change: Partial<Route>) => void} onChange Show another list.
 * @property {(event: MouseEvent) => void} onFollow A link within the page was clicked.
 * @property {() => void} onEdit The library was changed.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

/** @typedef {{ undo: string, items: GroupItem[], places: number[] }} Removal */

export class DuplicatesView {
  #api;
  #ask;
  #callbacks;
  #section = getElement('duplicates');
  #list = getElement('duplicates-list');
  #summary = getElement('duplicates-summary');
  #note = getElement('duplicates-note');
  #progress = getElement('duplicates-progress', HTMLProgressElement);
  #rule = getElement('duplicates-rule', HTMLSelectElement);
  #more = getElement('duplicates-more', HTMLButtonElement);
  #all = getElement('duplicates-all', HTMLButtonElement);
  #request = new AbortController();
  #isLoading = false;
  #isRemoving = false;

  /** @type {Route} */
  #route = START;

  /** @type {GroupItem[]} */
  #items = [];

  /** Groups in all, and the bytes that removing frees. */
  #total = { groups: 0, bytes: 0 };

  /** @type {Removal[]} */
  #removals = [];

  /**
   * @param {Api} api
   * @param {AskDialog} ask
   * @param {Callbacks} callbacks
   */
  constructor(api, ask, callbacks) {
    this.#api = api;
    this.#ask = ask;
    this.#callbacks = callbacks;
    const rules = KEEP_RULES.map((name) => new Option(translate(`duplicates_rule_${name}`), name));
    this.#rule.replaceChildren(...rules);
    this.#rule.addEventListener('change', () => {
      const keep = this.#rule.value === KEEP_RULES[0] ? '' : this.#rule.value;
      callbacks.onChange({ keep });
    });
    this.#more.addEventListener('click', () => this.#loadMore());
    this.#all.addEventListener('click', () => this.#remove(this.#items));
    new IntersectionObserver((entries) => {
      if (entries.some(({ isIntersecting }) => isIntersecting)) this.#loadMore();
    }, { rootMargin: AHEAD }).observe(this.#more);
    document.addEventListener('keydown', (event) => this.#handleKey(event));
  }

  get isShown() {
    return !this.#section.hidden;
  }

  /**
   * Show the groups of a route.
   * @param {Route} route
   */
  async show(route) {
    this.#request.abort();
    this.#request = new AbortController();
    this.#route = route;
    this.#removals = [];
    this.#isLoading = false;
    document.body.classList.add('has-duplicates');
    this.#section.hidden = false;
    document.title = `${translate('duplicates')} – ${translate('title')}`;
    this.#showTabs();
    this.#showItems([]);
    scrollTo(0, 0);
    this.#summary.textContent = translate('loading');
    await this.#load(1);
  }

  hide() {
    this.#request.abort();
    this.#section.hidden = true;
    document.body.classList.remove('has-duplicates');
    this.#showItems([]);
  }

  /** Give the focus to the picture that is kept of the first group, or to the view. */
  focus() {
    const focused = /** @type {HTMLElement | null} */ (this.#list.querySelector('[role=radio][tabindex="0"]'));
    (focused ?? this.#section).focus({ preventScroll: true });
  }

  #showTabs() {
    const tabs = DUPLICATE_KINDS.map((kind) => {
      const href = formatRoute({ ...this.#route, duplicates: kind, see: '' });
      const isCurrent = kind === this.#route.duplicates;
      return createElement('li', {}, createElement('a', {
        href, class: 'button', 'aria-current': isCurrent && 'page', text: translate(`duplicates_${kind}`), click: this.#callbacks.onFollow,
      }));
    });
    getElement('duplicates-tabs').replaceChildren(...tabs);
    getElement('duplicates-about').textContent = translate(`duplicates_about_${this.#route.duplicates || 'exact'}`);
    this.#rule.value = this.#route.keep || KEEP_RULES[0];
    const chips = this.#route.where.map((condition) => this.#createChip(condition));
    const list = getElement('duplicates-conditions');
    list.hidden = !chips.length;
    list.replaceChildren(...chips);
  }

  /** @param {string} condition */
  #createChip(condition) {
    const text = describeCondition(condition, translator);
    const label = translate('condition_remove', { condition: text });
    const click = () => this.#callbacks.onChange({ where: this.#route.where.filter((one) => one !== condition) });
    const properties = { type: 'button', class: 'condition', 'aria-label': label, title: label, click };
    return createElement('li', {}, createElement('button', properties, text, createIcon('close')));
  }

  #loadMore() {
    if (!this.#more.hidden && this.isShown) this.#load(Math.floor(this.#items.length / PAGE) + 1);
  }

  /**
   * Load a page of groups. While the server compares pictures, show how far it is.
   * @param {number} page
   */
  async #load(page) {
    if (this.#isLoading) return;
    this.#isLoading = true;
    const { signal } = this.#request;
    try {
      const answer = await this.#fetch(page, signal);
      if (!signal.aborted) this.#take(answer);
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      this.#summary.textContent = '';
      this.#showNote(formatProblem(toProblem(error), translator));
      this.#more.hidden = true;
    } finally {
      if (signal === this.#request.signal) {
        this.#isLoading = false;
        this.#progress.hidden = true;
      }
    }
  }

  /**
   * @param {number} page
   * @param {AbortSignal} signal
   * @returns {Promise<Duplicates>}
   */
  async #fetch(page, signal) {
    const { duplicates: kind, where, keep } = this.#route;
    for (;;) {
      const answer = await this.#api.fetchDuplicates({ kind, where, keep, page, size: PAGE }, signal);
      if (!('job' in answer)) return answer;
      const job = await this.#api.fetchJob(answer.job);
      if (signal.aborted) throw new DOMException('', 'AbortError');
      // to ask again would start it again
      if (job.state === 'failed') throw new Problem(-1, job.code ?? 'unknown', job.error ?? '');
      const { done, total } = job.progress ?? { done: 0, total: 0 };
      this.#summary.textContent = translate('duplicates_comparing', { done, total });
      this.#progress.hidden = false;
      if (total) this.#progress.value = done / total;
      else this.#progress.removeAttribute('value');
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    }
  }

  /** @param {Duplicates} answer */
  #take({ groups, total, bytes }) {
    const known = new Set(this.#items.map(({ group }) => group.id)); // pages shift as groups go
    const added = groups.filter(({ id }) => !known.has(id)).map((group) => new GroupItem(group, {
      onRemove: (item) => this.#remove([item]),
      onFollow: this.#callbacks.onFollow,
      getLink: (id) => formatRoute({ ...this.#route, see: id }),
    }));
    this.#total = { groups: total, bytes };
    this.#items.push(...added);
    this.#list.append(...added.map(({ element }) => element));
    this.#showSummary();
    this.#more.hidden = this.#items.length >= total || !added.length;
  }

  /** @param {GroupItem[]} items */
  #showItems(items) {
    this.#items = items;
    this.#list.replaceChildren(...items.map(({ element }) => element));
    this.#more.hidden = true;
    this.#all.hidden = true;
    this.#showNote('');
  }

  #showSummary() {
    const { groups, bytes } = this.#total;
    const freed = translate('duplicates_frees', { size: translator.formatBytes(Math.max(0, bytes)) });
    this.#summary.textContent = groups ? `${translate('duplicates_groups', { n: groups })} · ${freed}` : '';
    this.#showNote(groups ? '' : translate('duplicates_none'));
    this.#all.textContent = translate('duplicates_all', { n: this.#items.length });
    this.#all.hidden = this.#items.length < 2;
  }

  /** @param {string} text */
  #showNote(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    const isTyping = event.target instanceof Element && event.target.matches('input, select, textarea');
    if (!this.isShown || isTyping || isBrowserShortcut(event) || document.querySelector('dialog[open]')) return;
    const row = this.#items.findIndex((item) => item.element.contains(document.activeElement));
    const place = this.#items[row]?.findPlace(document.activeElement) ?? -1;
    const action = getDuplicateAction(event);
    const direction = getDirection(event);
    const end = getEnd(event);
    if (action === 'undo') this.#undo();
    else if (direction || end) this.#move(row, place, direction ?? [0, 0], end);
    else if (place < 0) return; // a button or a link has the focus
    else if (action === 'keep') this.#items[row].keep(place);
    else if (action === 'remove') this.#remove([this.#items[row]]);
    else return;
    event.preventDefault();
  }

  /**
   * Move the focus: to the sides within a group, up and down from group to group.
   * @param {number} row
   * @param {number} place
   * @param {readonly [number, number]} direction
   * @param {'first' | 'last' | null} end
   */
  #move(row, place, [right, down], end) {
    if (!this.#items.length) return;
    const last = this.#items.length - 1;
    if (end || row < 0) this.#items[end === 'last' ? last : 0].focus(0);
    else if (down) {
      const next = Math.max(0, Math.min(last, row + down));
      this.#items[next].focus(this.#items[next].kept);
    } else this.#items[row].focus(Math.max(0, Math.min(this.#items[row].size - 1, place + right)));
  }

  /**
   * Move what is not kept of groups to the bin, once that is confirmed.
   * @param {readonly GroupItem[]} items
   */
  async #remove(items) {
    const removing = items.filter(({ plan }) => plan.remove.length);
    const isReader = document.body.classList.contains('is-read-only');
    if (!removing.length || this.#isRemoving || isReader) return;
    this.#isRemoving = true;
    try {
      const plans = removing.map(({ plan }) => plan);
      const n = plans.reduce((sum, { remove }) => sum + remove.length, 0);
      const question = {
        title: translate('duplicates_remove_title', { n }),
        text: translate('duplicates_remove_text', { n: removing.length }),
        confirm: translate('remove_files'),
        pictures: plans.flatMap(({ pictures }) => pictures).slice(0, MOST_SHOWN).map(({ id }) => getAddress(id, 'thumbnail')),
      };
      if (!(await this.#ask.confirm(question))) return;
      const again = { ...question, title: translate('duplicates_remove_again', { n }), text: translate('duplicates_remove_again_text') };
      if (removing.length > 1 && !(await this.#ask.confirm(again))) return;
      await this.#send(removing);
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    } finally {
      this.#isRemoving = false;
    }
  }

  /** @param {readonly GroupItem[]} removing */
  async #send(removing) {
    const groups = removing.map(({ plan: { keep, remove } }) => ({ keep, remove }));
    const { files, failed, undo } = await this.#api.removeDuplicates(groups);
    const stayed = new Set(failed.map(({ path }) => path));
    const gone = removing.filter(({ plan }) => plan.remove.every(({ path }) => !stayed.has(path)));
    const places = gone.map((item) => this.#items.indexOf(item));
    if (undo) this.#removals.push({ undo, items: gone, places });
    this.#takeOut(gone);
    const text = failed.length
      ? translate('duplicates_removed_some', { n: files, failed: failed.length, path: failed[0].path })
      : translate('duplicates_removed', { n: files });
    const action = undo ? { text: translate('undo'), act: () => this.#undo() } : undefined;
    this.#callbacks.showToast(text, action);
    this.#callbacks.onEdit();
    if (gone.length < removing.length) await this.show(this.#route); // some groups are others by now
    else if (!this.#items.length) await this.#load(1);
  }

  /** @param {readonly GroupItem[]} gone */
  #takeOut(gone) {
    const first = this.#items.indexOf(gone[0]);
    const out = new Set(gone);
    this.#items = this.#items.filter((item) => !out.has(item));
    const next = this.#items[Math.min(first, this.#items.length - 1)];
    if (next) next.focus(next.kept);
    else moveFocus(this.#list, this.#section);
    for (const { element, plan } of gone) {
      element.remove();
      this.#total.bytes -= plan.bytes;
    }
    this.#total.groups -= gone.length;
    this.#showSummary();
  }

  /** Take the last removal back. */
  async #undo() {
    const removal = this.#removals.pop();
    if (!removal) return;
    try {
      await this.#api.restoreImages(removal.undo);
    } catch (error) {
      this.#removals.push(removal);
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
      return;
    }
    this.#callbacks.showToast(translate('change_undone'));
    this.#callbacks.onEdit();
    for (const [i, item] of removal.items.entries()) {
      this.#items.splice(removal.places[i], 0, item);
      this.#total.bytes += item.plan.bytes;
    }
    this.#total.groups += removal.items.length;
    this.#list.replaceChildren(...this.#items.map(({ element }) => element));
    this.#showSummary();
    const [first] = removal.items;
    first?.focus(first.kept);
  }
}
