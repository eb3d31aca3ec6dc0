// The albums, with their counts: open, make, rename and delete them.

import { isSameCondition, writeNameCondition } from './conditions.js';
import { createElement, createIcon } from './dom.js';
import { createTool } from './facet-list.js';
import { translate, translator } from './i18n.js';
import { formatProblem, toProblem } from './problems.js';

/** @import { Api, Album } from './api.js' */
/** @import { AskDialog } from './ask.js' */

/**
 * What the list calls.
 * @typedef {object} Callbacks
 * @property {(condition: string) => void} onToggle
 * @property {() => void} onEdit Albums were changed.
 * @property {(name: string, other: string) => void} onRename An album has another name.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

export class AlbumList {
  #api;
  #ask;
  #callbacks;
  #list = createElement('ul', { class: 'facets', role: 'list' });
  #none = createElement('p', { class: 'hint', text: translate('album_none') });

  /** @type {readonly string[]} */
  #where = [];

  element;

  /**
   * @param {Api} api
   * @param {AskDialog} ask
   * @param {Callbacks} callbacks
   */
  constructor(api, ask, callbacks) {
    this.#api = api;
    this.#ask = ask;
    this.#callbacks = callbacks;
    const create = createElement('button', { type: 'button', class: 'button-secondary write-action', click: () => this.#create() },
      createIcon('plus'), translate('album_new'));
    this.element = createElement('div', {}, this.#list, this.#none, create);
  }

  /**
   * Load and show the albums.
   * @param {readonly string[]} where
   * @param {AbortSignal} [signal]
   */
  async show(where, signal) {
    this.#where = where;
    const { albums } = await this.#api.fetchAlbums();
    if (signal?.aborted) return;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement?.getAttribute('data-where') : null;
    this.#list.replaceChildren(...albums.map((album) => this.#createRow(album)));
    this.#list.hidden = !albums.length;
    this.#none.hidden = albums.length > 0;
    if (focused) {
      const buttons = /** @type {NodeListOf<HTMLElement>} */ (this.#list.querySelectorAll('[data-where]'));
      [...buttons].find((one) => one.dataset.where === focused)?.focus();
    }
  }

  /** @param {Album} album */
  #createRow(album) {
    const { name, count } = album;
    const condition = writeNameCondition('album', name);
    const isActive = this.#where.some((one) => isSameCondition(one, condition));
    const button = createElement('button', {
      type: 'button', class: 'facet', 'aria-pressed': String(isActive), 'data-where': condition,
      title: translate('filter_value', { value: name, n: count }),
      click: () => this.#callbacks.onToggle(condition),
    }, createElement('span', { class: 'facet-name', text: name }),
    ' ', createElement('span', { class: 'facet-count', text: translator.formatNumber(count) }));
    return createElement('li', {}, button,
      createTool('edit', translate('album_rename', { name }), () => this.#rename(album)),
      createTool('bin', translate('album_delete', { name }), () => this.#delete(album, isActive ? condition : '')));
  }

  /**
   * @param {string} title
   * @param {string} confirm
   * @param {string} [value]
   */
  #askName(title, confirm, value) {
    return this.#ask.askText({ title, label: translate('album_name'), confirm, value, suggest: async () => [] });
  }

  async #create() {
    const name = await this.#askName(translate('album_create'), translate('add'));
    if (name) await this.#change(() => this.#api.createAlbum(name));
  }

  /** @param {Album} album */
  async #rename({ id, name }) {
    const other = await this.#askName(translate('album_rename', { name }), translate('rename'), name);
    if (!other || other === name) return;
    if (await this.#change(() => this.#api.renameAlbum(id, other))) this.#callbacks.onRename(name, other);
  }

  /**
   * @param {Album} album
   * @param {string} condition The present condition of the album, or empty.
   */
  async #delete({ id, name }, condition) {
    const isConfirmed = await this.#ask.confirm({
      title: translate('album_delete_question', { name }), text: translate('album_delete_hint'),
      confirm: translate('delete_album'), pictures: [],
    });
    if (!isConfirmed) return;
    if (!(await this.#change(() => this.#api.deleteAlbum(id)))) return;
    this.#callbacks.showToast(translate('album_deleted', { name }));
    if (condition) this.#callbacks.onToggle(condition);
  }

  /** @param {() => Promise<unknown>} act */
  async #change(act) {
    try {
      await act();
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
      return false;
    }
    this.#callbacks.onEdit();
    return true;
  }
}
