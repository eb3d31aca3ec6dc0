// An indexed folder in the library's panel: its state, and what can be done with it.

import { copyText } from './clipboard.js';
import { canShowFiles } from './desktop.js';
import { createElement, createIcon } from './dom.js';
import { translate, translator } from './i18n.js';
import { formatProblem, toProblem } from './problems.js';

/** @import { Api, Root } from './api.js' */

const HOURS = Object.freeze([1, 6, 24, 168]);

/**
 * What a folder calls.
 * @typedef {object} Callbacks
 * @property {(path: string, exclude?: string[]) => void} onIndex It is to be synced.
 * @property {() => void} onChange It is not in the library any more, or has other settings.
 */

export class RootItem {
  #api;
  #root;
  #callbacks;
  #more = createElement('div', { class: 'root-options' });
  #problem = createElement('p', { class: 'error-text', role: 'alert' });

  /**
   * @param {Api} api
   * @param {Root} root
   * @param {Callbacks} callbacks
   */
  constructor(api, root, callbacks) {
    this.#api = api;
    this.#root = root;
    this.#callbacks = callbacks;
    const { path, state, files } = root;
    const count = translate('files', { n: files });
    const about = [...(root.collection ? [root.collection] : []), count, state === 'online' ? this.#describeSchedule() : translate('offline')];
    const again = {
      type: 'button',
      class: 'button-secondary',
      text: translate('index_again'),
      'aria-label': translate('index_again_path', { path }),
      click: () => callbacks.onIndex(path),
    };
    const summary = createElement('summary', { text: translate('folder_options') });
    const label = translate('folder_options_path', { path });
    this.options = createElement('details', { class: 'options', 'aria-label': label }, summary, this.#more);
    this.options.addEventListener('toggle', () => this.options.open && !this.#more.childElementCount && this.#fill());
    this.element = createElement(
      'li',
      { 'data-path': path },
      createElement('span', { class: 'path', title: path }, createElement('bdi', { text: path })),
      createElement('span', { class: 'meta', text: about.join(' · ') }),
      createElement('button', again),
      this.options,
    );
  }

  /** Whether it is a URL, which sends no notice of changes. */
  get #isRemote() {
    return this.#root.path.includes('://');
  }

  /** How often it is synced: in hours, 0 for never, null as it changes. */
  get #hours() {
    return this.#isRemote ? (this.#root.sync_hours ?? 0) : this.#root.sync_hours;
  }

  #describeSchedule() {
    const hours = this.#hours;
    if (hours === null && !this.#root.watched) return translate('sync_unwatched');
    const when = hours === null ? 'sync_changes' : hours ? 'sync_hours' : 'sync_never';
    return translate('sync_state', { when: translate(when, { n: hours ?? 0 }) });
  }

  #fill() {
    const removal = createElement('div', { class: 'buttons' });
    const remove = { type: 'button', class: 'button-secondary', text: translate('remove_folder'), click: () => this.#confirm(removal) };
    removal.append(createElement('button', remove));
    const options = [this.#createCollection(), this.#createSchedule(), this.#createExclude(), this.#createLeftOut()];
    this.#more.append(...options, removal, this.#problem);
  }

  #createCollection() {
    const { path, collection } = this.#root;
    const change = () => this.#run(() => this.#api.setCollection(path, field.value.trim(), collection));
    const field = createElement('input', {
      type: 'text', autocomplete: 'off', maxlength: 200, list: 'known-collections', placeholder: translate('collection_none'), change,
    });
    field.value = collection ?? '';
    return createElement('label', {}, translate('field_collection'), field);
  }

  #createSchedule() {
    const { path } = this.#root;
    const hours = this.#hours;
    const others = hours && !HOURS.includes(hours) ? [hours] : [];
    const values = [...(this.#isRemote ? [] : [null]), ...HOURS, ...others, 0];
    const options = values.map((value) => {
      const text = value === null ? 'sync_changes' : value ? 'sync_hours' : 'sync_never';
      return createElement('option', { value: String(value), text: translate(text, { n: value ?? 0 }), selected: value === hours });
    });
    const change = () => this.#run(() => this.#api.setSchedule(path, field.value === 'null' ? null : Number(field.value)));
    const field = createElement('select', { change }, ...options);
    return createElement('label', {}, translate('sync_when'), field);
  }

  #createExclude() {
    const { path, exclude } = this.#root;
    const field = createElement('textarea', { rows: 3, spellcheck: 'false', maxlength: 10000 });
    field.value = exclude.join('\n');
    const apply = () => this.#callbacks.onIndex(path, field.value.split('\n').map((line) => line.trim()).filter(Boolean));
    return createElement(
      'div',
      {},
      createElement('label', {}, translate('exclude'), field),
      createElement('p', { class: 'hint', text: translate('exclude_hint') }),
      createElement('button', { type: 'button', class: 'button-secondary', text: translate('exclude_apply'), click: apply }),
    );
  }

  #createLeftOut() {
    const list = createElement('ul', { class: 'skipped', 'aria-label': translate('not_found_files') });
    const title = translate('not_found_files');
    const summary = createElement('summary', { text: title });
    const details = createElement('details', { class: 'left-out', 'aria-label': title }, summary, list);
    details.addEventListener('toggle', () => {
      if (details.open && !list.childElementCount) this.#run(() => this.#listLeftOut(list), false);
    });
    return details;
  }

  /** @param {HTMLElement} list */
  async #listLeftOut(list) {
    const { path: folder } = this.#root;
    const left = await this.#api.fetchLeftOut(folder);
    const showsFiles = !this.#isRemote && (await canShowFiles(this.#api));
    const { skipped, left_out: others, has_more: hasMore } = left;
    const files = [
      ...skipped.map(({ path, reason, code }) => ({ path, text: describeSkip(code, reason) })),
      ...others.map(({ path, kind }) => ({ path, text: translate('left_out_kind', { kind: translateKind(kind) }) })),
    ];
    const items = files.map(({ path, text }) => {
      const label = { type: 'button', class: 'button-secondary', text: translate('copy_path'), 'aria-label': translate('copy_path_of', { path }) };
      /** @param {{ currentTarget: HTMLButtonElement }} event */
      const click = async ({ currentTarget }) => {
        if (await copyText(path)) currentTarget.textContent = translate('path_copied');
      };
      const parts = [createElement('b', { text: path }), createElement('span', { text })];
      const buttons = [createElement('button', { ...label, click })];
      if (showsFiles) buttons.push(this.#createReveal(path));
      return createElement('li', {}, createElement('div', {}, ...parts), createElement('div', { class: 'buttons' }, ...buttons));
    });
    if (!items.length) items.push(createElement('li', { class: 'empty-note', text: translate('not_found_none') }));
    if (hasMore) items.push(createElement('li', { class: 'empty-note', text: translate('not_found_more') }));
    list.replaceChildren(...items);
  }

  /** @param {string} path */
  #createReveal(path) {
    const click = () => this.#run(() => this.#api.revealFile(path), false);
    const properties = { type: 'button', class: 'button-secondary', title: translate('reveal'), 'aria-label': translate('reveal_path', { path }), click };
    return createElement('button', properties, createIcon('folder'));
  }

  /**
   * Ask before the folder is taken out: its pictures would have to be embedded again.
   * @param {HTMLElement} place
   */
  #confirm(place) {
    const { path } = this.#root;
    const keep = () => {
      place.replaceChildren(createElement('button', { type: 'button', class: 'button-secondary', text: translate('remove_folder'), click: () => this.#confirm(place) }));
      place.querySelector('button')?.focus();
    };
    const no = createElement('button', { type: 'button', class: 'button-secondary', text: translate('remove_no'), click: keep });
    const yes = { type: 'button', class: 'button-secondary button-primary', text: translate('remove_yes'), click: () => this.#run(() => this.#api.forgetFolder(path)) };
    place.replaceChildren(createElement('p', { role: 'alert', text: translate('remove_question') }), createElement('button', yes), no);
    no.focus();
  }

  /**
   * @param {() => Promise<void>} act
   * @param {boolean} [isChange] Whether the library differs from then on.
   */
  async #run(act, isChange = true) {
    this.#problem.textContent = '';
    try {
      await act();
      if (isChange) this.#callbacks.onChange();
    } catch (error) {
      this.#problem.textContent = formatProblem(toProblem(error), translator);
    }
  }
}

/**
 * Describe why a file was skipped. Reasons are English, so that other languages show what codes mean.
 * @param {string} code
 * @param {string} reason
 */
export function describeSkip(code, reason) {
  const key = `skip_${code}`;
  return translator.language !== 'en' && translator.hasText(key) ? translate(key) : reason;
}

/** @param {string} kind */
function translateKind(kind) {
  const key = `kind_${kind}`;
  return translator.hasText(key) ? translate(key) : kind;
}
