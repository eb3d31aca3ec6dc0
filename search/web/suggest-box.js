// The search box: what the query may go on with, in groups, by keyboard and pointer.

import { createElement, getElement } from './dom.js';
import { translate } from './i18n.js';
import { getListAction } from './keyboard.js';
import { addRecent, groupSuggestions, insertSuggestion, moveOption, parseRecent, splitLastPart } from './suggestions.js';

/** @import { Api } from './api.js' */
/** @import { Suggestion } from './suggestions.js' */
/** @import { TextKey } from './texts.js' */

const WAIT_MS = 120; // after the last key
const MAX_TYPED = 200;
const STORED = 'lookalike.recent';

export class SuggestBox {
  #api;
  #onChoose;
  #box = getElement('words', HTMLInputElement);
  #list = getElement('suggestions');
  #timer = 0;
  #request = new AbortController();

  /** @type {Suggestion[]} */
  #shown = [];

  #active = -1;

  /**
   * @param {Api} api
   * @param {(query: string) => void} onChoose A recent search was chosen.
   */
  constructor(api, onChoose) {
    this.#api = api;
    this.#onChoose = onChoose;
    this.#box.addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#update(), WAIT_MS);
    });
    this.#box.addEventListener('focus', () => {
      if (!this.#box.value) this.#showRecent();
    });
    this.#box.addEventListener('blur', () => this.close());
    this.#box.addEventListener('keydown', (event) => this.#handleKey(event));
    this.#list.addEventListener('pointerdown', (event) => event.preventDefault()); // the box keeps the focus
    this.#list.addEventListener('click', (event) => {
      const option = event.target instanceof Element ? event.target.closest('[role=option]') : null;
      if (option) this.#take(this.#shown[Number(option.id.split('-').at(-1))]);
    });
  }

  /**
   * Remember a search.
   * @param {string} query
   */
  remember(query) {
    try {
      localStorage.setItem(STORED, JSON.stringify(addRecent(parseRecent(localStorage.getItem(STORED)), query)));
    } catch {
      // a browser that stores nothing offers no recent searches
    }
  }

  /** Hide the list, and forget what was asked for it. */
  close() {
    clearTimeout(this.#timer);
    this.#request.abort();
    this.#show([]);
  }

  async #update() {
    this.#request.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    const { last } = splitLastPart(this.#box.value);
    if (!this.#box.value) {
      this.#showRecent();
      return;
    }
    try {
      const isShort = last.length > 0 && last.length <= MAX_TYPED;
      const { suggestions } = isShort ? await this.#api.fetchSuggestions(last, signal) : { suggestions: [] };
      if (!signal.aborted && document.activeElement === this.#box) this.#show(suggestions);
    } catch {
      if (!signal.aborted) this.#show([]); // typing goes on without
    }
  }

  #showRecent() {
    let stored = null;
    try {
      stored = localStorage.getItem(STORED);
    } catch {
      // as in `remember`
    }
    this.#show(parseRecent(stored).map((text) => ({ kind: 'recent', text, insert: text, count: null })));
  }

  /** @param {readonly Suggestion[]} suggestions */
  #show(suggestions) {
    const groups = groupSuggestions(suggestions);
    this.#shown = groups.flatMap(({ items }) => items);
    this.#active = -1;
    let place = 0;
    const parts = groups.map(({ kind, items }) => {
      const name = `suggested_${kind}`;
      const label = createElement('li', { id: name, role: 'presentation', text: translate(/** @type {TextKey} */ (name)) });
      const options = items.map((one) => {
        const count = one.count === null ? [] : [createElement('span', { class: 'count', text: String(one.count) })];
        const text = createElement('span', { text: one.text });
        return createElement('li', { id: `suggestion-${place++}`, role: 'option', 'aria-selected': 'false' }, text, ...count);
      });
      const group = createElement('ul', { role: 'group', 'aria-labelledby': name }, label, ...options);
      return createElement('li', { role: 'presentation' }, group);
    });
    this.#list.replaceChildren(...parts);
    this.#list.hidden = !this.#shown.length;
    this.#box.ariaExpanded = String(this.#shown.length > 0);
    this.#box.removeAttribute('aria-activedescendant');
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    const action = getListAction(event);
    if (action === 'take') this.#takeActive(event);
    else if (action === 'close' && this.#shown.length) {
      event.preventDefault();
      event.stopPropagation();
      this.close();
    } else if (typeof action === 'number' && this.#shown.length) {
      event.preventDefault();
      this.#activate(moveOption(this.#active, action, this.#shown.length));
    }
  }

  /**
   * Take the option that is active; without one, the form is sent.
   * @param {KeyboardEvent} event
   */
  #takeActive(event) {
    if (this.#active < 0) {
      this.close();
      return;
    }
    event.preventDefault();
    this.#take(this.#shown[this.#active]);
  }

  /** @param {number} place */
  #activate(place) {
    this.#active = place;
    for (const [i, option] of [...this.#list.querySelectorAll('[role=option]')].entries()) {
      option.ariaSelected = String(i === place);
      if (i === place) option.scrollIntoView({ block: 'nearest' });
    }
    if (place < 0) this.#box.removeAttribute('aria-activedescendant');
    else this.#box.setAttribute('aria-activedescendant', `suggestion-${place}`);
  }

  /** @param {Suggestion} suggestion */
  #take(suggestion) {
    this.#box.value = insertSuggestion(this.#box.value, suggestion);
    this.close();
    if (suggestion.kind === 'recent') this.#onChoose(this.#box.value);
    else if (suggestion.kind === 'field') this.#update();
  }
}
