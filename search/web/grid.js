// Any number of pictures in rows. Only those near the window are in the document.

import { getAddress } from './api.js';
import { createElement, createIcon, getElement } from './dom.js';
import { getProof } from './evidence.js';
import { formatClock } from './film-time.js';
import { translate } from './i18n.js';
import {
  getDirection, getEnd, isBrowserShortcut, isCancelKey, isDeleteKey, isSelectAllKey, isSelectKey, opensElsewhere,
} from './keyboard.js';
import { findRowAt, findRowOf, findVertically, layoutSections } from './layout.js';
import { getMediaType, shortenFolder, splitPath } from './paths.js';
import { getStorage, readPreferences } from './preferences.js';
import { Selection } from './selection.js';

/** @import { Item } from './api.js' */
/** @import { Likeness } from './cutoff.js' */
/** @import { Row } from './layout.js' */

const CAPTION = 46; // pixels: two lines
const MARGIN = 12; // pixels around a picture that is scrolled to
const NARROW = 560; // pixels: below this the rows are lower
const WIDE = 1700; // pixels: from this on they are higher
const DIVIDER = 56; // pixels
const BAR = 80; // pixels at the top of the window that the bar covers
const LONG_PRESS_MS = 450;
const LABELS = 2; // on a picture, at most
const STILL = 12; // pixels that a finger may move in a long press
export const DRAG_TYPE = 'application/x-lookalike'; // of a picture that is dragged within the page

/**
 * What the grid calls.
 * @typedef {object} Callbacks
 * @property {(place: number) => void} onOpen A picture was chosen.
 * @property {(item: Item) => string} getLink Its address.
 * @property {() => void} onEnd The last pictures come near.
 * @property {() => void} onSelect Other pictures are selected.
 * @property {(item: Item) => void} onFavourite A picture is to be a favourite, or none any more.
 * @property {() => void} onDelete What is selected is to be removed.
 * @property {() => void} onSelectAll All pictures are to be selected, also those that are not loaded yet.
 */

/**
 * How alike the pictures of an answer are. isOfWords: the query is words alone. divider: index of
 * the picture that begins the less alike ones, and a text above it.
 * @typedef {{ likeness: readonly Likeness[], isOfWords: boolean,
 *   divider: { start: number, text: string } | null }} Rating
 */

/**
 * A picture in the document.
 * @typedef {{ element: HTMLLIElement, link: HTMLAnchorElement, frame: HTMLElement, image: HTMLImageElement,
 *   check: HTMLButtonElement, heart: HTMLButtonElement }} Tile
 */

export class Grid {
  #list;
  #callbacks;
  #divider = getElement('divider');

  /** @type {Rating | null} */
  #rating = null;

  /** Time until a finger that stays selects a picture. */
  #pressTimer = 0;

  /** Whether the click that follows a long press is still to come. */
  #wasLongPress = false;

  #active = 0;

  /** Whether pictures say what the model sees in them. */
  #showsLabels = false;

  /** How many times as high as usual the rows are. */
  #factor = 1;
  #width = 0;
  #frame = 0; // number of the next drawing, 0 if none is planned

  /** @type {Row[]} */
  #rows = [];

  /** @type {Map<number, Tile>} */
  #tiles = new Map();

  /** @type {readonly Item[]} */
  items = [];

  /** @type {Selection<Item>} */
  selection;

  /**
   * @param {HTMLElement} list
   * @param {Callbacks} callbacks
   */
  constructor(list, callbacks) {
    this.#list = list;
    this.#callbacks = callbacks;
    this.selection = new Selection(() => this.#showSelection());
    list.addEventListener('pointerdown', (event) => this.#handlePress(event));
    list.addEventListener('contextmenu', (event) => {
      if (this.#wasLongPress) event.preventDefault();
    });
    addEventListener('keydown', (event) => this.#handlePageKey(event));
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
   * @param {Rating | null} rating Null for pictures without scores and captions.
   */
  show(items, rating) {
    this.items = items;
    this.#rating = rating;
    this.#showsLabels = readPreferences(getStorage()).labels === 'tiles';
    this.selection.setItems(items);
    this.#active = 0;
    for (const tile of this.#tiles.values()) discard(tile);
    this.#tiles.clear();
    this.#arrange();
  }

  /**
   * Show the same answer in another order, or with other words. What has the focus, else the first
   * picture in the window of a list that was scrolled, stays where it is.
   * @param {readonly Item[]} items
   * @param {Rating | null} rating
   */
  update(items, rating) {
    const isFocused = this.#list.contains(document.activeElement);
    const active = this.items[this.#active]?.id;
    const hasScrolled = this.#list.getBoundingClientRect().top < 0;
    const kept = isFocused ? active : hasScrolled ? this.items[this.firstPlace]?.id : undefined;
    const before = this.#getTop(kept);
    const tiles = [...this.#tiles].map(([place, tile]) => /** @type {const} */ ([this.items[place].id, tile]));
    const places = new Map(items.map(({ id }, place) => [id, place]));
    this.items = items;
    this.#rating = rating;
    this.selection.setItems(items);
    this.#active = places.get(active ?? '') ?? 0;
    this.#tiles.clear();
    for (const [id, tile] of tiles) {
      const place = places.get(id);
      if (place === undefined) discard(tile);
      else this.#tiles.set(place, this.#renew(place, tile));
    }
    const inOrder = [...this.#tiles].sort(([a], [b]) => a - b).map(([, { element }]) => element);
    if (inOrder.some((element, i) => this.#list.children[i] !== element)) this.#list.append(...inOrder);
    this.#arrange();
    const after = this.#getTop(kept);
    if (before !== null && after !== null && before !== after) scrollBy(0, after - before);
    if (isFocused) this.#tiles.get(this.#active)?.link.focus({ preventScroll: true });
  }

  /**
   * Return the pixels from the upper edge of the list to a picture; null if it is not in the list.
   * @param {string | undefined} id
   */
  #getTop(id) {
    const place = id ? this.find(id) : -1;
    return place < 0 || !this.#rows.length ? null : this.#rows[findRowOf(this.#rows, place)].top;
  }

  /**
   * Return a tile for a picture at its new place: the present one if it would look the same, else a
   * new one with its picture, which is loaded already.
   * @param {number} place
   * @param {Tile} tile
   */
  #renew(place, tile) {
    const next = this.#createTile(place);
    next.image.removeAttribute('src');
    if (next.link.textContent === tile.link.textContent && next.link.ariaLabel === tile.link.ariaLabel) {
      for (const name of ['aria-setsize', 'aria-posinset', 'data-place', 'class']) {
        const value = next.element.getAttribute(name);
        if (value === null) tile.element.removeAttribute(name);
        else tile.element.setAttribute(name, value);
      }
      tile.link.tabIndex = next.link.tabIndex;
      tile.heart.tabIndex = next.heart.tabIndex;
      tile.heart.ariaPressed = next.heart.ariaPressed;
      return tile;
    }
    next.frame.replaceWith(tile.frame);
    tile.element.replaceWith(next.element);
    return { ...next, frame: tile.frame, image: tile.image };
  }

  /**
   * Show whether a picture is a favourite.
   * @param {string} id
   * @param {boolean} isFavourite
   */
  setFavourite(id, isFavourite) {
    const place = this.find(id);
    if (place < 0) return;
    this.items[place].favourite = isFavourite;
    const tile = this.#tiles.get(place);
    if (tile) tile.heart.ariaPressed = String(isFavourite);
  }

  /**
   * Show more pictures at the end.
   * @param {readonly Item[]} items All of them: those that are shown, and the new ones.
   */
  extend(items) {
    this.items = items;
    this.selection.setItems(items);
    for (const { element } of this.#tiles.values()) element.setAttribute('aria-setsize', String(this.items.length));
    this.#arrange();
  }

  /**
   * Show the pictures so many times as high as usual.
   * @param {number} factor
   */
  setSize(factor) {
    const place = this.firstPlace;
    const hasScrolled = scrollY > 0;
    this.#factor = factor;
    this.#arrange();
    if (place > 0 && hasScrolled) this.scrollTo(place);
  }

  /** The first picture below the upper edge of the window. */
  get firstPlace() {
    const { top } = this.#list.getBoundingClientRect();
    return this.#rows.length ? this.#rows[findRowAt(this.#rows, Math.max(0, BAR - top))].from : 0;
  }

  /**
   * Scroll so that the row of a picture is the first one.
   * @param {number} place
   */
  scrollTo(place) {
    const { top } = this.#list.getBoundingClientRect();
    scrollBy(0, top + this.#rows[findRowOf(this.#rows, place)].top - BAR);
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
    const below = top + row.height + (this.#rating ? CAPTION : 0) + MARGIN - innerHeight;
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
    const height = this.#width < NARROW ? 132 : this.#width > WIDE ? 220 : 184;
    const target = Math.round(height * this.#factor);
    const spacing = { target, gap: this.#rating ? 14 : 6, below: this.#rating ? CAPTION : 0 };
    const divider = this.#rating?.divider ?? null;
    const starts = divider ? [divider.start] : [];
    const { rows, height: whole, headings } = layoutSections(this.items, this.#width, spacing, starts, DIVIDER);
    this.#divider.hidden = !headings.length;
    this.#divider.textContent = divider?.text ?? '';
    this.#divider.style.transform = `translateY(${headings[0] ?? 0}px)`;
    this.#rows = rows;
    this.#list.style.height = `${whole}px`;
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
    const time = typeof item.time === 'number' ? formatClock(item.time) : '';
    const near = shortenFolder(folder);
    const number = item.low_content ? translate('blank_picture') : (item.score?.toFixed(2) ?? '');
    const score = this.#rating ? number : '';
    const likeness = this.#rating?.likeness[place] ?? null;
    const word = likeness ? translate(this.#rating?.isOfWords ? `likeness_words_${likeness}` : `likeness_${likeness}`) : '';
    const proof = this.#rating && likeness !== 'own' ? getProof(item) : null;
    const proven = proof ? translate(`proof_${proof}`) : '';
    const copies = item.copies?.length ? translate('copies', { n: item.copies.length }) : '';
    const seen = this.#showsLabels ? (item.labels ?? []).slice(0, LABELS).map((one) => one.name).join(', ') : '';
    const label = [name, seen, time, copies, near, proven, word, score && !item.low_content && translate('score', { score })].filter(Boolean).join(', ');
    const image = createElement('img', { alt: '', decoding: 'async', draggable: 'false' });
    const frame = createElement('span', { class: 'frame' }, image);
    image.addEventListener('load', () => frame.classList.add('is-loaded'));
    image.addEventListener('error', () => frame.classList.add('is-missing'));
    image.src = getAddress(item.id, 'thumbnail');
    const isSelected = this.selection.has(item.id);
    const properties = { href: this.#callbacks.getLink(item), 'aria-label': label, title: item.path, draggable: 'true' };
    const link = createElement('a', properties, frame);
    link.tabIndex = place === this.#active ? 0 : -1;
    if (seen) frame.append(createElement('span', { class: 'frame-labels', 'aria-hidden': 'true', text: seen }));
    if (time) frame.append(createElement('span', { class: 'frame-time', 'aria-hidden': 'true', text: time }));
    if (this.#rating) {
      const kind = `likeness ${likeness === 'less' ? 'is-less' : ''}`;
      const words = createElement('i', { class: kind, text: word, title: translate('score', { score }) });
      const numeric = createElement('i', { class: 'number', text: score });
      const about = [createElement('span', { class: 'folder', text: near }), ' ', words, ' ', numeric];
      if (proven) about.push(' ', createElement('i', { class: 'proof', text: proven }));
      const folded = copies ? [' ', createElement('span', { class: 'copies', text: copies })] : [];
      link.append(createElement('span', { class: 'tile-caption' }, createElement('b', { text: name }), ...folded));
      link.append(' ', createElement('span', { class: 'tile-caption tile-details' }, ...about)); // spaces: read as words
    }
    const check = createElement('button', {
      type: 'button', class: 'tile-checkbox', role: 'checkbox', tabindex: -1, 'aria-checked': String(isSelected),
      'aria-label': translate('select_picture', { name }),
    }, createIcon('check'));
    const favourite = translate('favourite_picture', { name });
    const heart = createElement('button', {
      type: 'button', class: 'tile-favourite write-action', tabindex: place === this.#active ? 0 : -1,
      'aria-pressed': String(item.favourite ?? false), 'aria-label': favourite, title: translate('favourite'),
    }, createIcon('heart'));
    const numbers = { 'aria-setsize': this.items.length, 'aria-posinset': place + 1, 'data-place': place };
    const classes = [isSelected && 'is-selected', likeness === 'own' && 'is-query'].filter(Boolean).join(' ');
    return { element: createElement('li', { ...numbers, class: classes || null }, link, check, heart), link, frame, image, check, heart };
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
    for (const control of before ? [before.link, before.heart] : []) control.tabIndex = -1;
    this.#active = place;
    const now = this.#tiles.get(place);
    for (const control of now ? [now.link, now.heart] : []) control.tabIndex = 0;
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
    if (place === null) return;
    if (isOnHeart(event)) {
      if (this.#wasLongPress) this.#wasLongPress = false;
      else this.#callbacks.onFavourite(this.items[place]);
      return;
    }
    const isCheck = event.target instanceof Element && event.target.closest('.tile-checkbox') !== null;
    const isSelecting = isCheck || this.selection.size > 0 || event.shiftKey;
    if (!isSelecting && opensElsewhere(event)) return;
    event.preventDefault();
    this.#activate(place);
    if (this.#wasLongPress) this.#wasLongPress = false;
    else if (isSelecting && event.shiftKey) this.selection.extend(place);
    else if (isSelecting) this.selection.toggle(place);
    else {
      this.selection.setAnchor(place);
      this.#callbacks.onOpen(place);
    }
  }

  /**
   * Select a picture that a finger rests on.
   * @param {PointerEvent} event
   */
  #handlePress(event) {
    const place = this.#getPlace(event);
    this.#wasLongPress = false;
    if (place === null || event.pointerType === 'mouse') return;
    const end = () => {
      clearTimeout(this.#pressTimer);
      for (const name of ['pointerup', 'pointercancel', 'pointermove']) removeEventListener(name, check);
    };
    /** @param {Event} moved */
    const check = (moved) => {
      const isStill = moved.type === 'pointermove' && moved instanceof PointerEvent &&
        Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) < STILL;
      if (!isStill) end();
    };
    for (const name of ['pointerup', 'pointercancel', 'pointermove']) addEventListener(name, check);
    this.#pressTimer = setTimeout(() => {
      end();
      this.#wasLongPress = true;
      this.selection.toggle(place);
    }, LONG_PRESS_MS);
  }

  /** @param {DragEvent} event */
  #handleDrag(event) {
    const place = this.#getPlace(event);
    if (place === null || !event.dataTransfer || this.#wasLongPress) {
      event.preventDefault();
      return;
    }
    const { id, path } = this.items[place];
    const { name } = splitPath(path);
    const address = new URL(getAddress(id, 'file'), location.href).href;
    event.dataTransfer.setData(DRAG_TYPE, id);
    event.dataTransfer.setData('DownloadURL', `${getMediaType(name)}:${name.replaceAll(':', '_')}:${address}`);
    event.dataTransfer.setData('text/uri-list', address);
    event.dataTransfer.effectAllowed = 'copy';
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    if (isBrowserShortcut(event)) return;
    if (isSelectKey(event)) {
      if (isOnHeart(event)) return; // which it presses
      event.preventDefault();
      if (event.shiftKey) this.selection.extend(this.#active);
      else this.selection.toggle(this.#active);
      return;
    }
    const place = this.#findTarget(event);
    if (place === null) return;
    event.preventDefault();
    const to = Math.min(this.items.length - 1, Math.max(0, place));
    if (event.shiftKey) {
      if (!this.selection.size) this.selection.setAnchor(this.#active);
      this.selection.extend(to);
    }
    this.#activate(to);
    this.focus(to);
  }

  /**
   * Select all, or nothing, or remove what is selected, wherever the focus is.
   * @param {KeyboardEvent} event
   */
  #handlePageKey(event) {
    const { target } = event;
    const isTyping = target instanceof Element && target.matches('input, textarea, select');
    if (isTyping || document.querySelector('dialog[open]')) return;
    if (isSelectAllKey(event) && this.items.length) {
      event.preventDefault();
      this.#callbacks.onSelectAll();
    } else if (isCancelKey(event)) this.selection.clear();
    else if (this.#isDeletion(event)) {
      event.preventDefault();
      this.#callbacks.onDelete();
    }
  }

  /**
   * Return whether a key removes what is selected: not a crop that has the focus, and not behind another list.
   * @param {KeyboardEvent} event
   */
  #isDeletion(event) {
    const isFree = isDeleteKey(event) && !isBrowserShortcut(event) && !event.defaultPrevented;
    return isFree && this.selection.size > 0 && this.#list.checkVisibility();
  }

  #showSelection() {
    for (const [place, { element, check }] of this.#tiles) {
      const item = this.items[place];
      const isSelected = item !== undefined && this.selection.has(item.id);
      element.classList.toggle('is-selected', isSelected);
      check.setAttribute('aria-checked', String(isSelected));
    }
    this.#list.classList.toggle('is-selecting', this.selection.size > 0);
    this.#callbacks.onSelect();
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
 * Return whether an event is of the button that makes a picture a favourite.
 * @param {Event} event
 */
function isOnHeart({ target }) {
  return target instanceof Element && target.closest('.tile-favourite') !== null;
}

/**
 * Take a tile out, and stop loading its picture.
 * @param {Tile} tile
 */
function discard({ element, image }) {
  image.removeAttribute('src');
  element.remove();
}
