// The controls of an answer: its conditions, the kind of its pictures, the least score, copies folded, and scores as
// numbers.

import { describeCondition } from './conditions.js';
import { createElement, createIcon, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { isPictureQuery } from './query.js';

/** @import { Route } from './route.js' */

const KEY = 'lookalike.showNumbers';

/** Kinds that a reader chooses from; none for all pictures. */
const CHOICES = Object.freeze(/** @type {const} */ (['copy', 'identical']));

export class AnswerControls {
  #minimum = getElement('min-score', HTMLInputElement);
  #kind = getElement('kind', HTMLSelectElement);
  #fold = getElement('fold', HTMLInputElement);
  #numbers = getElement('show-numbers', HTMLInputElement);
  #conditions = getElement('conditions');
  #onChange;
  #onSeen;

  /**
   * @param {(change: Partial<Route>) => void} onChange
   * @param {(name: string) => void} onSeen The new pictures of a saved search are to be marked as seen.
   */
  constructor(onChange, onSeen) {
    this.#onChange = onChange;
    this.#onSeen = onSeen;
    this.#minimum.addEventListener('input', () => this.#showMinimum());
    this.#minimum.addEventListener('change', () => {
      const min = this.#minimum.valueAsNumber;
      onChange({ min: min > 0 ? min : null });
    });
    const kinds = CHOICES.map((kind) => createElement('option', { value: kind, text: translate(`kind_of_${kind}`) }));
    this.#kind.replaceChildren(createElement('option', { value: '', text: translate('kind_of_all') }), ...kinds);
    this.#kind.addEventListener('change', () => onChange({ kind: this.#kind.value }));
    this.#fold.addEventListener('change', () => onChange({ isFolded: this.#fold.checked }));
    this.#numbers.checked = readFlag();
    this.#numbers.addEventListener('change', () => this.#showNumbers());
    this.#showNumbers();
  }

  /** @param {Route} route */
  show({ terms, where, min, kind, isFolded, from, isHidden, newIn }) {
    const choice = isPictureQuery({ terms }) ? CHOICES.find((one) => one === kind) : undefined;
    getElement('answer-controls').hidden = !terms.length || Boolean(newIn);
    this.#minimum.value = String(min ?? 0);
    this.#kind.value = choice ?? '';
    getElement('kind-control').hidden = !isPictureQuery({ terms });
    this.#fold.checked = isFolded;
    this.#showMinimum();
    const chips = where.map((condition) => {
      const others = where.filter((other) => other !== condition);
      return this.#createChip(describeCondition(condition, translator), condition, { where: others, from: '' });
    });
    if (choice) chips.unshift(this.#createChip(translate(`kind_of_${choice}`), '', { kind: '' }));
    const month = from === 'none' ? translate('timeline_undated') : from && translator.formatMonth(from);
    if (from) chips.push(this.#createChip(translate('timeline_from', { month }), '', { from: '' }));
    if (isHidden) chips.push(this.#createChip(translate('hidden_pictures'), '', { isHidden: false }));
    if (newIn) {
      const click = () => this.#onSeen(newIn);
      const mark = createElement('button', { type: 'button', class: 'condition-action', click }, createIcon('check'), translate('saved_mark'));
      chips.push(this.#createChip(translate('saved_only_new', { name: newIn }), '', { newIn: '' }), createElement('li', {}, mark));
    }
    const isFocused = this.#conditions.contains(document.activeElement);
    this.#conditions.hidden = !chips.length;
    this.#conditions.replaceChildren(...chips);
    if (isFocused) (this.#conditions.querySelector('button') ?? getElement('results')).focus({ preventScroll: true });
  }

  /**
   * @param {string} text
   * @param {string} condition As it is written, if it is one.
   * @param {Partial<Route>} change What removes it.
   */
  #createChip(text, condition, change) {
    const label = translate('condition_remove', { condition: text });
    const click = () => this.#onChange(change);
    const properties = { type: 'button', class: 'condition', 'aria-label': label, title: condition || label, click };
    return createElement('li', {}, createElement('button', properties, text, createIcon('close')));
  }

  #showMinimum() {
    const value = this.#minimum.valueAsNumber;
    getElement('min-score-value').textContent = value > 0 ? value.toFixed(2) : translate('min_score_any');
  }

  #showNumbers() {
    document.body.classList.toggle('show-numbers', this.#numbers.checked);
    try {
      localStorage.setItem(KEY, this.#numbers.checked ? '1' : '');
    } catch {
      // this browser keeps nothing: the choice lasts as long as the page
    }
  }
}

/** Return whether scores were shown as numbers before. */
function readFlag() {
  try {
    return localStorage.getItem(KEY) === '1';
  } catch {
    return false;
  }
}
