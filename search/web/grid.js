// Any number of pictures in rows. Only those near the window are in the document.

import { getAddress } from './api.js';
import { createElement } from './dom.js';
import { translate } from './i18n.js';
import { getDirection, getEnd, isBrowserShortcut, opensElsewhere } from './keyboard.js';
import { findRowAt, findRowOf, findVertically, layoutRows } from './layout.js';
import { shortenFolder, splitPath } from './paths.js';

/** @import { Item } from './api.js' */
/** @import { Row } from './layout.js' */

const CAPTION = 46; // pixels: two lines
const MARGIN = 12; // pixels around a picture that is scrolled to
const NARROW = 560; // pixels: below this the rows are lower
export const DRAG_TYPE = 'application/x-lookalike'; // of a picture that is dragged within the page

/**
 * What the grid calls.
 * @typedef {object} Callbacks
 * @property {(place: number) => void} onOpen A picture was chosen.
 * @property {(item: Item) => string} getLink Its address.
 * @property {() => void} onEnd The last pictures come near.
 */

/**
 * A picture in the document.
 * @typedef {{ element: HTMLLIElement, link: HTMLAnchorElement, frame: HTMLElement, image: HTMLImageElement }} Tile
 */

export class Grid {
  #list;
  #callbacks;
  #isScored = false;
  #active = 0;
  #width = 0;
  #frame = 0; // number of the next drawing, 0 if none is planned

  /** @type {Row[]} */
  #rows = [];

  /** @type {Map<number, Tile>} */
  #tiles = new Map();

  /** @type {readonly Item[]} */
  items = [];

  /**
   * @param {HTMLElement} list
   * @param {Callbacks} callbacks
   */
  constructor(list, callbacks) {
    this.#list = list;
    this.#callbacks = callbacks;
    list.addEventListener('click', (event) => this.#handleClick(event));
    list.addEventListener('keydown', (event) => this.#handleKey(event));
    list.addEventListener('focusin', (event) => this.#handleFocus(event));
    list.addEventListener('dragstart', (event) => this.#handleDrag(event));
    addEventListener('scroll', () => this.planDrawing(), { passive: true });
    addEventListener('resize', () => this.planDrawing());
    new ResizeObserver(() => this.#handleResize()).observe(list);
  }

  /**
   * Show pictures instead of the present ones.
   * @param {readonly Item[]} items
   * @param {boolean} isScored Whether each has a score and a caption.
   */
  show(items, isScored) {
    this.items = items;
    this.#isScored = isScored;
    this.#active = 0;
    for (const tile of this.#tiles.values()) discard(tile);
    this.#tiles.clear();
    this.#arrange();
  }

  /**
   * Show more pictures at the end.
   * @param {readonly Item[]} items All of them: those that are shown, and the new ones.
   */
  extend(items) {
    this.items = items;
    for (const { element } of this.#tiles.values()) element.setAttribute('aria-setsize', String(this.items.length));
    this.#arrange();
  }

  /** Draw with the next frame. */
  planDrawing() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Write the addresses of the pictures anew. */
  updateLinks() {
    for (const [place, { link }] of this.#tiles) link.href = this.#callbacks.getLink(this.items[place]);
  }

  /**
   * Return the index of a picture, or -1.
   * @param {string} id Whole, or its beginning.
   */
  find(id) {
    return this.items.findIndex((item) => item.id.startsWith(id));
  }

  /**
   * Scroll to a picture and focus it.
   * @param {number} place
   */
  focus(place) {
    if (!this.items[place]) return;
    this.#active = place;
    const row = this.#rows[findRowOf(this.#rows, place)];
    const top = this.#list.getBoundingClientRect().top + row.top;
    const bar = document.querySelector('.bar');
    const high = (bar instanceof HTMLElement ? bar.offsetHeight : 0) + MARGIN;
    const below = top + row.height + (this.#isScored ? CAPTION : 0) + MARGIN - innerHeight;
    if (top < high) scrollBy(0, top - high);
    else if (below > 0) scrollBy(0, below);
    this.#draw();
    this.#tiles.get(place)?.link.focus({ preventScroll: true });
  }

  #handleResize() {
    if (this.#list.clientWidth === this.#width) return;
    const { top } = this.#list.getBoundingClientRect();
    const place = this.#rows.length && top < 0 ? this.#rows[findRowAt(this.#rows, -top)].from : 0;
    this.#arrange();
    if (place) scrollBy(0, this.#rows[findRowOf(this.#rows, place)].top + this.#list.getBoundingClientRect().top);
  }

  #arrange() {
    this.#width = this.#list.clientWidth;
    if (!this.#width) return;
    const spacing = {
      target: this.#width < NARROW ? 132 : 184,
      gap: this.#isScored ? 14 : 6,
      below: this.#isScored ? CAPTION : 0,
    };
    const { rows, height } = layoutRows(this.items, this.#width, spacing);
    this.#rows = rows;
    this.#list.style.height = `${height}px`;
    for (const [place, tile] of this.#tiles) this.#position(place, tile);
    this.#draw();
  }

  /** Put the pictures near the window into the document, and take the others out. */
  #draw() {
    if (!this.#rows.length || !this.#list.isConnected) return;
    const { top } = this.#list.getBoundingClientRect();
    const first = this.#rows[findRowAt(this.#rows, -top - innerHeight)];
    const last = this.#rows[findRowAt(this.#rows, -top + 2 * innerHeight)];
    const from = first.from;
    const to = last.from + last.boxes.length;
    const focused = this.#list.contains(document.activeElement) ? this.#active : -1;
    for (const [place, tile] of this.#tiles) {
      if ((place < from || place >= to) && place !== focused) {
        discard(tile);
        this.#tiles.delete(place);
      }
    }
    for (let place = from; place < to; place += 1) {
      if (!this.#tiles.has(place)) this.#insert(place);
    }
    if (!this.#tiles.has(this.#active)) this.#activate(from);
    if (top + this.#list.offsetHeight < 2.5 * innerHeight) this.#callbacks.onEnd();
  }

  /** @param {number} place */
  #insert(place) {
    const tile = this.#createTile(place);
    this.#position(place, tile);
    this.#tiles.set(place, tile);
    const after = [...this.#tiles.keys()].filter((other) => other > place);
    const next = after.length ? this.#tiles.get(Math.min(...after)) : undefined;
    this.#list.insertBefore(tile.element, next?.element ?? null);
  }

  /**
   * @param {number} place
   * @returns {Tile}
   */
  #createTile(place) {
    const item = this.items[place];
    const { folder, name } = splitPath(item.path);
    const near = shortenFolder(folder);
    const number = item.low_content ? translate('blank_picture') : (item.score?.toFixed(2) ?? '');
    const score = this.#isScored ? number : '';
    const label = [name, near, score && translate('score', { score })].filter(Boolean).join(', ');
    const image = createElement('img', { alt: '', decoding: 'async', draggable: 'false' });
    const frame = createElement('span', { class: 'frame' }, image);
    image.addEventListener('load', () => frame.classList.add('loaded'));
    image.addEventListener('error', () => frame.classList.add('gone'));
    image.src = getAddress(item.id, 'thumbnail');
    const properties = { href: this.#callbacks.getLink(item), 'aria-label': label, title: item.path, draggable: 'true' };
    const link = createElement('a', properties, frame);
    link.tabIndex = place === this.#active ? 0 : -1;
    if (this.#isScored) {
      const parts = [createElement('b', { text: name }), createElement('i', { text: score })];
      link.append(createElement('span', { class: 'line' }, ...parts), createElement('span', { class: 'folder', text: near }));
    }
    const numbers = { 'aria-setsize': this.items.length, 'aria-posinset': place + 1, 'data-place': place };
    return { element: createElement('li', numbers, link), link, frame, image };
  }

  /**
   * @param {number} place
   * @param {Tile} tile
   */
  #position(place, { element, frame }) {
    const row = this.#rows[findRowOf(this.#rows, place)];
    const box = row.boxes[place - row.from];
    element.style.transform = `translate(${box.left}px, ${row.top}px)`;
    element.style.width = `${box.width}px`;
    frame.style.height = `${row.height}px`;
  }

  /**
   * Make a picture the one that Tab goes to.
   * @param {number} place
   */
  #activate(place) {
    const before = this.#tiles.get(this.#active);
    if (before) before.link.tabIndex = -1;
    this.#active = place;
    const now = this.#tiles.get(place);
    if (now) now.link.tabIndex = 0;
  }

  /** @param {Event} event */
  #getPlace(event) {
    const tile = event.target instanceof Element ? event.target.closest('li') : null;
    return tile ? Number(tile.dataset.place) : null;
  }

  /** @param {FocusEvent} event */
  #handleFocus(event) {
    const place = this.#getPlace(event);
    if (place !== null && place !== this.#active) this.#activate(place);
  }

  /** @param {MouseEvent} event */
  #handleClick(event) {
    const place = this.#getPlace(event);
    if (place === null || opensElsewhere(event)) return;
    event.preventDefault();
    this.#activate(place);
    this.#callbacks.onOpen(place);
  }

  /** @param {DragEvent} event */
  #handleDrag(event) {
    const place = this.#getPlace(event);
    if (place === null || !event.dataTransfer) return;
    event.dataTransfer.setData(DRAG_TYPE, this.items[place].id);
    event.dataTransfer.effectAllowed = 'copy';
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    if (isBrowserShortcut(event)) return;
    const place = this.#findTarget(event);
    if (place === null) return;
    event.preventDefault();
    const to = Math.min(this.items.length - 1, Math.max(0, place));
    this.#activate(to);
    this.focus(to);
  }

  /**
   * Return the index of the picture that a key goes to, or null.
   * @param {KeyboardEvent} event
   */
  #findTarget(event) {
    const end = getEnd(event);
    if (end) return end === 'first' ? 0 : this.items.length - 1;
    const direction = getDirection(event);
    if (!direction) return null;
    const [right, down] = direction;
    return right ? this.#active + right : findVertically(this.#rows, this.#active, down);
  }
}

/**
 * Take a tile out, and stop loading its picture.
 * @param {Tile} tile
 */
function discard({ element, image }) {
  image.removeAttribute('src');
  element.remove();
}
