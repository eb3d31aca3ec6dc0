// A browser of the folders on the server's machine that may be indexed.

import { createElement, createIcon, createPath, getElement, moveFocus } from './dom.js';
import { translate, translator } from './i18n.js';
import { formatProblem, toProblem } from './problems.js';

/** @import { Api, FolderEntry } from './api.js' */

export class FolderBrowser {
  #api;
  #onAdd;
  #element = getElement('browser');
  #list = getElement('browser-list');
  #opener = getElement('browse');
  #path = '';

  /**
   * @param {Api} api
   * @param {(path: string) => void} onAdd A folder is to be indexed.
   */
  constructor(api, onAdd) {
    this.#api = api;
    this.#onAdd = onAdd;
    this.#opener.addEventListener('click', () => this.#toggle());
    getElement('browser-add').addEventListener('click', () => this.#add(this.#path));
  }

  #toggle() {
    if (this.#element.hidden) this.open('');
    else this.close();
  }

  close() {
    moveFocus(this.#element, this.#opener);
    this.#element.hidden = true;
    this.#opener.setAttribute('aria-expanded', 'false');
  }

  /**
   * Show the subfolders of a folder.
   * @param {string} path Empty for the folders to start from.
   */
  async open(path) {
    this.#element.hidden = false;
    this.#opener.setAttribute('aria-expanded', 'true');
    const hadFocus = this.#list.contains(document.activeElement);
    const wrong = getElement('browser-problem');
    wrong.textContent = '';
    try {
      const { folders, parent, pictures, has_more: hasMore, path: place } = await this.#api.fetchFolders(path);
      this.#path = place;
      getElement('browser-path').replaceChildren(...(place ? createPath(place) : [translate('browse_start')]));
      getElement('browser-count').textContent = pictures ? translate('pictures', { n: pictures }) : '';
      getElement('browser-add').hidden = !place;
      const items = folders.map((folder) => this.#createItem(folder));
      if (parent !== null) items.unshift(this.#createUp(parent));
      if (!folders.length) items.push(createElement('li', { class: 'empty-note', text: translate('browse_none') }));
      if (hasMore) items.push(createElement('li', { class: 'empty-note', text: translate('browse_more') }));
      this.#list.replaceChildren(...items);
      if (hadFocus) this.#list.querySelector('button')?.focus();
    } catch (error) {
      wrong.textContent = formatProblem(toProblem(error), translator);
    }
  }

  /** @param {string} path */
  #add(path) {
    this.close();
    this.#onAdd(path);
  }

  /** @param {string} parent */
  #createUp(parent) {
    const up = { type: 'button', class: 'folder-row', click: () => this.open(parent) };
    return createElement('li', {}, createElement('button', up, createIcon('left'), translate('browse_up')));
  }

  /** @param {FolderEntry} folder */
  #createItem(folder) {
    const { name, path, pictures, has_more: hasMore, is_indexed: isIndexed } = folder;
    const { is_hidden: isHidden, is_left_out: isLeftOut } = folder;
    const count = translate('pictures', { n: pictures });
    const about = pictures ? [hasMore ? `${count}+` : count] : []; // none are in it directly: subfolders may have some
    if (isIndexed) about.push(translate('folder_indexed'));
    if (isHidden) about.push(translate('folder_hidden'));
    else if (isLeftOut) about.push(translate('folder_system'));
    const open = createElement(
      'button',
      { type: 'button', class: 'folder-row', click: () => this.open(path) },
      createIcon('folder'),
      createElement('b', { text: name }),
      createElement('span', { class: 'meta', text: about.join(' · ') }),
    );
    return createElement('li', { class: isHidden || isLeftOut ? 'is-muted' : '', 'data-path': path }, open);
  }
}
