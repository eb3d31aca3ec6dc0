// What people say of the picture that is shown large, to be read and changed: favourite, stars, tags,
// albums.

import { createElement, createIcon, getElement, moveFocus } from './dom.js';
import { quoteValue } from './exposure.js';
import { isAcceptKey, isCancelKey } from './keyboard.js';
import { translate, translator } from './i18n.js';
import { formatProblem, toProblem } from './problems.js';
import { formatRoute, routeToCondition } from './route.js';

/** @import { Api, Change, Image } from './api.js' */

const STARS = Object.freeze([1, 2, 3, 4, 5]);
const WAIT_MS = 150;

/**
 * What the marks call.
 * @typedef {object} Callbacks
 * @property {(event: MouseEvent) => void} onFollow A link to results was clicked.
 * @property {(image: Image) => void} onChange The picture was changed.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

export class Marks {
  #api;
  #callbacks;
  #section = getElement('marks');
  #favourite = getElement('mark-favourite');
  #stars = getElement('mark-stars');
  #tags = getElement('mark-tags');
  #albums = getElement('mark-albums');
  #caption = getElement('mark-caption', HTMLTextAreaElement);
  #field = getElement('mark-tag', HTMLInputElement);
  #timer = 0;

  /** @type {Image | null} */
  #image = null;

  /**
   * @param {Api} api
   * @param {Callbacks} callbacks
   */
  constructor(api, callbacks) {
    this.#api = api;
    this.#callbacks = callbacks;
    this.#favourite.addEventListener('click', () => this.#change({ favourite: !this.#image?.favourite }));
    this.#stars.replaceChildren(...STARS.map((n) => this.#createStar(n)));
    this.#caption.addEventListener('change', () => this.#changeCaption());
    this.#caption.addEventListener('keydown', (event) => {
      if (isAcceptKey(event)) {
        event.preventDefault();
        this.#caption.blur(); // which tells of the change
      } else if (isCancelKey(event)) {
        event.preventDefault(); // the picture stays open
        this.#showCaption();
        this.#caption.blur();
      }
    });
    getElement('mark-tag-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const tag = this.#field.value.trim();
      this.#field.value = '';
      if (tag) this.#change({ add_tags: [tag] });
    });
    this.#field.addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#suggest(), WAIT_MS);
    });
  }

  hide() {
    this.#image = null;
    this.#section.hidden = true;
  }

  /** @param {Image} image */
  show(image) {
    this.#image = image;
    this.#section.hidden = image.favourite === undefined;
    this.#favourite.setAttribute('aria-pressed', String(image.favourite ?? false));
    for (const [i, star] of [...this.#stars.children].entries()) {
      star.setAttribute('aria-pressed', String((image.rating ?? 0) > i));
    }
    const tags = image.tags.map((tag) =>
      this.#createChip('tag', tag, translate('tag_remove', { tag }), { remove_tags: [tag] }));
    const albums = (image.albums ?? []).map(({ id, name }) =>
      this.#createChip('album', name, translate('album_leave', { album: name }), { remove_album: id }));
    for (const [list, chips] of /** @type {const} */ ([[this.#tags, tags], [this.#albums, albums]])) {
      moveFocus(list, this.#field);
      list.replaceChildren(...chips);
      list.hidden = !chips.length;
    }
    this.#showCaption();
  }

  #showCaption() {
    const { caption, caption_origin: origin } = this.#image ?? {};
    const isReader = document.body.classList.contains('is-read-only');
    this.#caption.value = caption ?? '';
    this.#caption.readOnly = isReader;
    getElement('mark-caption-label').hidden = isReader && !caption;
    const note = origin === 'model' ? 'caption_model' : 'caption_file';
    const isOthers = caption && (origin === 'model' || origin === 'file');
    getElement('mark-caption-note').textContent = isOthers ? translate(note) : '';
  }

  /** Keep what was written. One's own caption that is emptied is taken back; that of a file or a model is hidden. */
  async #changeCaption() {
    const { caption, caption_origin: origin } = this.#image ?? {};
    const text = this.#caption.value.trim();
    if (text === (caption ?? '')) return;
    await this.#change({ caption: text || (origin === 'person' ? null : '') }, translate('caption_saved'));
  }

  /**
   * Give so many stars, or take them back if there are so many.
   * @param {number} n
   */
  rate(n) {
    const isReader = document.body.classList.contains('is-read-only');
    if (this.#image && !this.#section.hidden && !isReader) this.#change({ rating: this.#image.rating === n ? 0 : n });
  }

  /** @param {number} n */
  #createStar(n) {
    const label = translate('stars', { n });
    const click = () => this.rate(n);
    return createElement('button', { type: 'button', class: 'icon', 'aria-label': label, title: label, click }, createIcon('star'));
  }

  /**
   * @param {'tag' | 'album'} field
   * @param {string} name
   * @param {string} label Of the button that removes it.
   * @param {Change} removal
   */
  #createChip(field, name, label, removal) {
    const href = formatRoute(routeToCondition(`${field}=${quoteValue(name)}`));
    const icon = field === 'album' ? [createIcon('album')] : [];
    const link = createElement('a', { href, click: this.#callbacks.onFollow }, ...icon, name);
    const click = () => this.#change(removal);
    const properties = { type: 'button', class: 'icon write-action', 'aria-label': label, title: label, click };
    return createElement('li', {}, link, createElement('button', properties, createIcon('close')));
  }

  /**
   * @param {Change} change
   * @param {string} [text] What is said once it is done.
   */
  async #change(change, text = '') {
    const image = this.#image;
    if (!image) return;
    try {
      await this.#api.changeImages({ ids: [image.id], ...change });
      const changed = await this.#api.fetchImage(image.id);
      if (this.#image === image) this.show(changed);
      this.#callbacks.onChange(changed);
      if (text) this.#callbacks.showToast(text);
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    }
  }

  async #suggest() {
    const prefix = this.#field.value.trim();
    try {
      const { tags } = prefix ? await this.#api.fetchTags(prefix) : { tags: [] };
      getElement('known-tags').replaceChildren(...tags.map(({ tag }) => createElement('option', { value: tag })));
    } catch {
      // typing goes on without
    }
  }
}
