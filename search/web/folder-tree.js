// The folders with pictures, opened level by level, with counts under the present conditions.

import { parseCondition, toggleCondition } from './conditions.js';
import { createElement, createIcon } from './dom.js';
import { quoteValue } from './exposure.js';
import { translate, translator } from './i18n.js';

/** @import { Api, FolderCount } from './api.js' */

export class FolderTree {
  #api;
  #onToggle;

  /** Folders that are open. @type {Set<string>} */
  #opened = new Set();

  /** @type {readonly string[]} */
  #where = [];

  element = createElement('div', { class: 'tree' });

  /**
   * @param {Api} api
   * @param {(condition: string) => void} onToggle
   */
  constructor(api, onToggle) {
    this.#api = api;
    this.#onToggle = onToggle;
  }

  /**
   * Load and show the folders under conditions. Those of folders are left out, so that one can go
   * from a folder to another.
   * @param {readonly string[]} where
   * @param {AbortSignal} signal
   */
  async show(where, signal) {
    this.#where = where;
    const focused = this.element.contains(document.activeElement) ? document.activeElement?.getAttribute('data-path') : null;
    const list = await this.#createLevel(undefined, signal);
    if (signal.aborted) return;
    this.element.replaceChildren(list);
    if (focused) this.#focus(focused);
  }

  /** @param {string} path */
  #focus(path) {
    const buttons = /** @type {NodeListOf<HTMLElement>} */ (this.element.querySelectorAll('[data-path]'));
    [...buttons].find((one) => one.dataset.path === path)?.focus();
  }

  /**
   * @param {string | undefined} path Undefined for the indexed folders.
   * @param {AbortSignal} [signal]
   */
  async #createLevel(path, signal) {
    const others = this.#where.filter((condition) => parseCondition(condition)?.field !== 'folder');
    const { folders } = await this.#api.fetchTree(path, others, signal);
    if (!folders.length && !path) return createElement('p', { class: 'hint', text: translate('filters_none') });
    const rows = await Promise.all(folders.map((folder) => this.#createRow(folder, path, signal)));
    return createElement('ul', { role: 'list' }, ...rows);
  }

  /**
   * @param {FolderCount} folder
   * @param {string | undefined} parent
   * @param {AbortSignal} [signal]
   */
  async #createRow({ path, count, folders }, parent, signal) {
    const name = path.replace(/\/+$/, '').split('/').at(-1) || path;
    const condition = `folder=${quoteValue(path.replaceAll('*', '?'))}`;
    const isActive = toggleCondition(this.#where, condition).length < this.#where.length;
    const label = translate('filter_value', { value: name, n: count });
    const button = createElement('button', {
      type: 'button', class: 'facet', 'aria-pressed': String(isActive), title: `${path}\n${label}`,
      'data-path': path, 'data-where': condition, click: () => this.#onToggle(condition),
    }, createElement('span', { class: 'facet-name', text: name }),
    ' ', createElement('span', { class: 'facet-count', text: translator.formatNumber(count) }));
    const row = createElement('li', { class: parent ? null : 'root' });
    const line = createElement('div', { class: 'tree-line' });
    row.append(line);
    if (folders) {
      const opener = createElement('button', {
        type: 'button', class: 'icon tree-open', 'aria-expanded': String(this.#opened.has(path)),
        'aria-label': translate('tree_open', { name }),
      }, createIcon('right'));
      opener.addEventListener('click', () => this.#toggle(path, row, opener));
      line.append(opener);
    }
    line.append(button);
    if (folders && this.#opened.has(path)) row.append(await this.#createLevel(path, signal));
    return row;
  }

  /**
   * @param {string} path
   * @param {HTMLElement} row
   * @param {HTMLElement} opener
   */
  async #toggle(path, row, opener) {
    const isOpen = !this.#opened.delete(path);
    if (isOpen) this.#opened.add(path);
    opener.setAttribute('aria-expanded', String(isOpen));
    row.querySelector(':scope > ul')?.remove();
    if (!isOpen) return;
    try {
      const level = await this.#createLevel(path);
      if (this.#opened.has(path) && !row.querySelector(':scope > ul')) row.append(level);
    } catch {
      this.#opened.delete(path); // a click tries again
      opener.setAttribute('aria-expanded', 'false');
    }
  }
}
