// A box drawn on a picture: by mouse, finger or keys.

import { browsers, byId, leave, node } from './node.js';
import { say } from './words.js';

const LEAST = 4; // per cent of the picture
const STEP = 2;
const PAUSE = 450; // milliseconds after the last key
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const within = (value, low, high) => Math.min(high, Math.max(low, value));

export class Crop {
  /** frame: lies over the picture; changed(box): a box [x, y, w, h] in per cent, or null. */
  constructor(frame, changed) {
    this.frame = frame;
    this.changed = changed;
    this.value = null;
    this.corners = ['nw', 'ne', 'sw', 'se'].map((name) =>
      node('button', { type: 'button', class: `corner ${name}`, 'data-corner': name }),
    );
    this.box = node('div', { class: 'crop', tabindex: 0, role: 'group' }, ...this.corners);
    this.box.hidden = true;
    frame.append(this.box);
    frame.addEventListener('pointerdown', (event) => this.#grab(event));
    frame.addEventListener('keydown', (event) => this.#pressed(event));
  }

  /** Show a box, or none. */
  set(value) {
    clearTimeout(this.timer); // what keys did to the box before is of no matter now
    this.value = value;
    this.box.hidden = !value;
    if (!value) return;
    const [x, y, w, h] = value;
    Object.assign(this.box.style, { left: `${x}%`, top: `${y}%`, width: `${w}%`, height: `${h}%` });
    const whole = { x: Math.round(x), y: Math.round(y), w: Math.round(w), h: Math.round(h) };
    this.box.setAttribute('aria-label', `${say('crop_box', whole)}. ${say('crop_help')}`);
    for (const one of this.corners) one.setAttribute('aria-label', say(`crop_${one.dataset.corner}`));
  }

  /** Begin with a box in the middle, for keys and fingers. */
  begin() {
    this.set([15, 15, 70, 70]);
    this.box.focus();
    this.changed(this.value);
  }

  #done() {
    const full = this.value[2] > 99.5 && this.value[3] > 99.5;
    const value = full ? null : this.value.map((part) => Math.round(part * 100) / 100);
    this.set(value);
    this.changed(value);
  }

  #point(event) {
    const area = this.frame.getBoundingClientRect();
    const x = within((100 * (event.clientX - area.left)) / area.width, 0, 100);
    const y = within((100 * (event.clientY - area.top)) / area.height, 0, 100);
    return [x, y];
  }

  #grab(event) {
    const corner = event.target.dataset.corner;
    const inside = this.box.contains(event.target);
    if (event.button !== 0 || (!inside && event.pointerType === 'touch')) return;
    event.preventDefault();
    clearTimeout(this.timer);
    const before = this.value;
    const start = this.#point(event);
    const drag = (moved) => {
      const to = this.#point(moved);
      if (corner) this.#resize(corner, to);
      else if (inside) this.#move(before, to[0] - start[0], to[1] - start[1]);
      else this.#draw(start, to);
    };
    const end = (ended) => {
      this.frame.removeEventListener('pointermove', drag);
      this.frame.removeEventListener('pointerup', end);
      this.frame.removeEventListener('pointercancel', end);
      const small = this.value && (this.value[2] < LEAST || this.value[3] < LEAST);
      if (ended.type === 'pointercancel' || small) this.set(before);
      else if (this.value && String(this.value) !== String(before)) this.#done();
      if (this.value) (corner ? event.target : this.box).focus({ preventScroll: true });
    };
    this.frame.setPointerCapture(event.pointerId);
    this.frame.addEventListener('pointermove', drag);
    this.frame.addEventListener('pointerup', end);
    this.frame.addEventListener('pointercancel', end);
  }

  #draw([fromX, fromY], [toX, toY]) {
    const x = Math.min(fromX, toX);
    const y = Math.min(fromY, toY);
    this.set([x, y, Math.abs(toX - fromX), Math.abs(toY - fromY)]);
  }

  #move([x, y, w, h], right, down) {
    this.set([within(x + right, 0, 100 - w), within(y + down, 0, 100 - h), w, h]);
  }

  #resize(corner, [toX, toY]) {
    let [left, top, w, h] = this.value;
    let right = left + w;
    let bottom = top + h;
    if (corner.includes('w')) left = within(toX, 0, right - LEAST);
    else right = within(toX, left + LEAST, 100);
    if (corner.includes('n')) top = within(toY, 0, bottom - LEAST);
    else bottom = within(toY, top + LEAST, 100);
    this.set([left, top, right - left, bottom - top]);
  }

  #pressed(event) {
    if (browsers(event)) return;
    if (event.key === 'Delete' || event.key === 'Backspace') {
      event.preventDefault();
      leave(this.box, byId('crop-start'));
      this.set(null);
      this.changed(null);
      return;
    }
    const way = MOVES[event.key];
    if (!way || !this.value) return;
    event.preventDefault();
    const [right, down] = way.map((part) => part * STEP);
    const [x, y, w, h] = this.value;
    const corner = event.target.dataset.corner ?? (event.shiftKey ? 'se' : null);
    if (corner) {
      const from = [x + (corner.includes('e') ? w : 0), y + (corner.includes('s') ? h : 0)];
      this.#resize(corner, [from[0] + right, from[1] + down]);
    } else this.#move(this.value, right, down);
    this.timer = setTimeout(() => this.#done(), PAUSE);
  }
}
