// The parts of a query in rows: each with its weight, its sign, and a button that removes it.

import { createElement, createIcon, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { isWords } from './route.js';

/** @import { QueryTerm } from './route.js' */

const WEIGHTS = Object.freeze([0.25, 0.5, 1, 2, 4]);

/**
 * A part of a query as it is shown. address: of its picture; problem: why it is left out.
 * @typedef {{ term: QueryTerm, name: string, address: string, problem: string }} TermRow
 */

/**
 * What the list calls. place: index of the term.
 * @typedef {object} Callbacks
 * @property {(terms: QueryTerm[]) => void} onChange
 * @property {(place: number) => void} onChoose A picture is to be shown large.
 */

/**
 * Return the next weight up or down, with the same sign.
 * @param {number} weight
 * @param {number} by -1 or 1
 */
export function stepWeight(weight, by) {
  const size = Math.abs(weight);
  const larger = WEIGHTS.find((step) => step > size) ?? size;
  const smaller = WEIGHTS.findLast((step) => step < size) ?? size;
  return Math.sign(weight) * (by > 0 ? larger : smaller);
}

export class TermList {
  #list = getElement('terms');
  #callbacks;

  /** @type {readonly QueryTerm[]} */
  #terms = [];

  /** @param {Callbacks} callbacks */
  constructor(callbacks) {
    this.#callbacks = callbacks;
  }

  /**
   * Show the parts of a query. A single picture has no row: it is shown large.
   * @param {TermRow[]} rows
   * @param {number} active Index of the picture that is shown large.
   */
  show(rows, active) {
    const focused = this.#findFocus();
    this.#terms = rows.map(({ term }) => term);
    this.#list.hidden = rows.length < 2 && rows.every(({ term, problem }) => term.weight === 1 && !problem);
    this.#list.replaceChildren(...(this.#list.hidden ? [] : rows.map((row, i) => this.#createRow(row, i, active))));
    if (focused) this.#restoreFocus(focused);
  }

  /**
   * @param {TermRow} row
   * @param {number} place
   * @param {number} active
   */
  #createRow({ term, name, address, problem }, place, active) {
    const { weight } = term;
    const isAway = weight < 0;
    const about = { name };
    const picture = isWords(term)
      ? createElement('span', { class: 'term-words-icon' }, createIcon('search'))
      : this.#createPicture(place, name, address, place === active);
    const size = translator.formatNumber(Math.abs(weight));
    const tools = [
      this.#createTool('less', translate('term_less', about), 'minus', () => this.#weigh(place, -1)),
      createElement('output', { text: `× ${size}`, 'aria-label': translate('term_weight', { ...about, size }) }),
      this.#createTool('more', translate('term_more', about), 'plus', () => this.#weigh(place, 1)),
      this.#createTool('away', translate('term_away', about), 'away', () => this.#flip(place), isAway),
      this.#createTool('remove', translate('term_remove', about), 'close', () => this.#remove(place)),
    ];
    const text = createElement('span', { class: 'term-name', title: name, text: name });
    const notes = [];
    if (isAway) notes.push(createElement('span', { class: 'term-note', text: translate('term_is_away') }));
    if (problem) notes.push(createElement('span', { class: 'term-problem', role: 'alert', text: problem }));
    const body = createElement('div', { class: 'term-body' }, text, ...notes);
    const toolbar = createElement('div', { class: 'term-tools' }, ...tools);
    const classes = ['term', isAway && 'away', problem && 'left-out'].filter(Boolean).join(' ');
    return createElement('li', { class: classes, 'data-place': place }, picture, body, toolbar);
  }

  /**
   * @param {number} place
   * @param {string} name
   * @param {string} address
   * @param {boolean} isActive
   */
  #createPicture(place, name, address, isActive) {
    const image = createElement('img', { alt: '', src: address || null });
    const label = translate('term_show', { name });
    const properties = { type: 'button', class: 'term-picture', 'aria-label': label, 'aria-pressed': String(isActive) };
    return createElement('button', { ...properties, 'data-tool': 'show', click: () => this.#callbacks.onChoose(place) }, image);
  }

  /**
   * @param {string} tool
   * @param {string} label
   * @param {string} icon
   * @param {() => void} click
   * @param {boolean} [isPressed]
   */
  #createTool(tool, label, icon, click, isPressed) {
    const pressed = isPressed === undefined ? {} : { 'aria-pressed': String(isPressed) };
    const properties = { type: 'button', class: 'icon', 'aria-label': label, title: label, 'data-tool': tool, click };
    return createElement('button', { ...properties, ...pressed }, createIcon(icon));
  }

  /**
   * @param {number} place
   * @param {number} by
   */
  #weigh(place, by) {
    this.#replace(place, (term) => ({ ...term, weight: stepWeight(term.weight, by) }));
  }

  /** @param {number} place */
  #flip(place) {
    this.#replace(place, (term) => ({ ...term, weight: -term.weight }));
  }

  /** @param {number} place */
  #remove(place) {
    this.#callbacks.onChange(this.#terms.filter((_, i) => i !== place));
  }

  /**
   * @param {number} place
   * @param {(term: QueryTerm) => QueryTerm} change
   */
  #replace(place, change) {
    this.#callbacks.onChange(this.#terms.map((term, i) => (i === place ? change(term) : term)));
  }

  /** Return which button of which row has the focus, or null. */
  #findFocus() {
    const button = document.activeElement;
    const row = button?.closest('.term');
    if (!(button instanceof HTMLElement) || !(row instanceof HTMLElement) || !this.#list.contains(row)) return null;
    return { place: Number(row.dataset.place), tool: button.dataset.tool ?? '' };
  }

  /** @param {{ place: number, tool: string }} focused */
  #restoreFocus({ place, tool }) {
    const rows = this.#list.querySelectorAll('.term');
    const row = rows[Math.min(place, rows.length - 1)];
    const button = row?.querySelector(`[data-tool="${tool}"]`) ?? getElement('term-words');
    if (button instanceof HTMLElement) button.focus({ preventScroll: true });
  }
}
