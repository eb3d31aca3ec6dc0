// Any number of pictures in rows, of which only those near the window are in the document.

import { address } from './api.js';
import { layout, rowAt } from './layout.js';
import { browsers, near, node, parts } from './node.js';
import { say } from './words.js';

const CAPTION = 46; // pixels: two lines
const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

export class Grid {
  /** list: a <ul>; open(place): a picture was chosen; link(item): its address; end(): the last
   * pictures come near. */
  constructor(list, { open, link, end }) {
    Object.assign(this, { list, open, link, end });
    this.items = [];
    this.rows = [];
    this.tiles = new Map();
    this.active = 0;
    this.width = 0;
    list.addEventListener('click', (event) => this.#clicked(event));
    list.addEventListener('keydown', (event) => this.#pressed(event));
    list.addEventListener('focusin', (event) => this.#entered(event));
    list.addEventListener('dragstart', (event) => this.#dragged(event));
    addEventListener('scroll', () => this.#soon(), { passive: true });
    addEventListener('resize', () => this.#soon());
    new ResizeObserver(() => this.#resized()).observe(list);
  }

  /** Show these instead. scored: whether each has a score, and a caption. */
  show(items, scored) {
    this.items = items;
    this.scored = scored;
    this.active = 0;
    this.#clear();
    this.#arrange();
  }

  /** Show these as well. */
  add(items) {
    this.items = this.items.concat(items);
    for (const tile of this.tiles.values()) tile.setAttribute('aria-setsize', this.items.length);
    this.#arrange();
  }

  /** Ask for more, if the end is near. */
  nudge() {
    this.#soon();
  }

  /** Bring a picture into the window and focus it. */
  focus(place) {
    if (!this.items[place]) return;
    this.active = place;
    const row = this.rows[this.#row(place)];
    const top = this.list.getBoundingClientRect().top + row.top;
    const high = document.querySelector('.bar').offsetHeight + 12;
    const below = top + row.height + (this.scored ? CAPTION : 0) + 12 - innerHeight;
    if (top < high) scrollBy(0, top - high);
    else if (below > 0) scrollBy(0, below);
    this.#draw();
    this.tiles.get(place).firstChild.focus({ preventScroll: true });
  }

  #clear() {
    for (const tile of this.tiles.values()) discard(tile);
    this.tiles.clear();
  }

  #resized() {
    if (this.list.clientWidth === this.width) return;
    const top = this.list.getBoundingClientRect().top;
    const place = this.rows.length && top < 0 ? this.rows[rowAt(this.rows, -top)].from : 0;
    this.#arrange();
    if (place) scrollBy(0, this.rows[this.#row(place)].top + this.list.getBoundingClientRect().top);
  }

  #arrange() {
    this.width = this.list.clientWidth;
    if (!this.width) return;
    const target = this.width < 560 ? 132 : 184;
    const below = this.scored ? CAPTION : 0;
    const arranged = layout(this.items, this.width, { target, gap: this.scored ? 14 : 6, below });
    this.rows = arranged.rows;
    this.list.style.height = `${arranged.height}px`;
    for (const [place, tile] of this.tiles) this.#place(place, tile);
    this.#draw();
  }

  #soon() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.#draw();
    });
  }

  #draw() {
    if (!this.rows.length || !this.list.isConnected) return;
    const top = this.list.getBoundingClientRect().top;
    const first = rowAt(this.rows, -top - innerHeight);
    const last = rowAt(this.rows, -top + 2 * innerHeight);
    const from = this.rows[first].from;
    const to = this.rows[last].from + this.rows[last].boxes.length;
    const held = this.list.contains(document.activeElement) ? this.active : -1;
    for (const [place, tile] of this.tiles) {
      if ((place < from || place >= to) && place !== held) {
        discard(tile);
        this.tiles.delete(place);
      }
    }
    for (let place = from; place < to; place += 1) {
      if (!this.tiles.has(place)) this.#make(place);
    }
    if (!this.tiles.has(this.active)) this.#enter(from);
    if (top + this.list.offsetHeight < 2.5 * innerHeight) this.end();
  }

  #make(place) {
    const item = this.items[place];
    const { folder, name } = parts(item.path);
    const blank = item.low_content ? say('blank') : null;
    const score = this.scored ? (blank ?? item.score.toFixed(2)) : null;
    const label = [name, near(folder), score && say('score', { score })].filter(Boolean).join(', ');
    const image = node('img', { alt: '', decoding: 'async', draggable: 'false' });
    const frame = node('span', { class: 'frame' }, image);
    image.addEventListener('load', () => frame.classList.add('loaded'));
    image.addEventListener('error', () => frame.classList.add('gone'));
    image.src = address(item.id, 'thumbnail');
    const link = node('a', { href: this.link(item), 'aria-label': label, draggable: 'true' }, frame);
    link.tabIndex = place === this.active ? 0 : -1;
    if (this.scored) {
      const first = node('span', { class: 'line' }, node('b', { text: name }), node('i', { text: score }));
      link.append(first, node('span', { class: 'folder', text: near(folder) }));
    }
    link.title = item.path;
    const numbers = { 'aria-setsize': this.items.length, 'aria-posinset': place + 1 };
    const tile = node('li', { ...numbers, 'data-place': place }, link);
    this.#place(place, tile);
    this.tiles.set(place, tile);
    const after = [...this.tiles.keys()].filter((other) => other > place);
    this.list.insertBefore(tile, after.length ? this.tiles.get(Math.min(...after)) : null);
  }

  #place(place, tile) {
    const row = this.rows[this.#row(place)];
    const box = row.boxes[place - row.from];
    tile.style.transform = `translate(${box.left}px, ${row.top}px)`;
    tile.style.width = `${box.width}px`;
    tile.firstChild.firstChild.style.height = `${row.height}px`;
  }

  #row(place) {
    let low = 0;
    let high = this.rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.rows[middle].from <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #enter(place) {
    const before = this.tiles.get(this.active);
    if (before) before.firstChild.tabIndex = -1;
    this.active = place;
    const now = this.tiles.get(place);
    if (now) now.firstChild.tabIndex = 0;
  }

  #of(event) {
    const tile = event.target.closest('li');
    return tile ? Number(tile.dataset.place) : null;
  }

  #entered(event) {
    const place = this.#of(event);
    if (place !== null && place !== this.active) this.#enter(place);
  }

  #clicked(event) {
    const place = this.#of(event);
    if (place === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.#enter(place);
    this.open(place);
  }

  #dragged(event) {
    const place = this.#of(event);
    if (place === null) return;
    event.dataTransfer.setData('application/x-lookalike', this.items[place].id);
    event.dataTransfer.effectAllowed = 'copy';
  }

  #pressed(event) {
    if (browsers(event)) return;
    const place = this.#target(event.key);
    if (place === null) return;
    event.preventDefault();
    const to = Math.min(this.items.length - 1, Math.max(0, place));
    this.#enter(to);
    this.focus(to);
  }

  #target(pressed) {
    if (pressed in STEPS) return this.active + STEPS[pressed];
    if (pressed === 'Home') return 0;
    if (pressed === 'End') return this.items.length - 1;
    if (pressed !== 'ArrowUp' && pressed !== 'ArrowDown') return null;
    const here = this.#row(this.active);
    const there = this.rows[here + (pressed === 'ArrowUp' ? -1 : 1)];
    if (!there) return null;
    const box = this.rows[here].boxes[this.active - this.rows[here].from];
    const middle = box.left + box.width / 2;
    const away = (other) => Math.abs(other.left + other.width / 2 - middle);
    const nearest = there.boxes.reduce((best, other) => (away(other) < away(best) ? other : best));
    return there.from + there.boxes.indexOf(nearest);
  }
}

/** Take a tile out, and stop loading its picture. */
function discard(tile) {
  tile.querySelector('img').removeAttribute('src');
  tile.remove();
}
