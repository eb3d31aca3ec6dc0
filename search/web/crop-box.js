// A box on a picture, drawn by mouse, finger or keys.

import { clamp, getCorner, isTooSmall, moveBox, resizeBox, roundBox, spanBox } from './crop-math.js';
import { createElement, getElement, moveFocus } from './dom.js';
import { translate } from './i18n.js';
import { getDirection, isBrowserShortcut, isDeleteKey } from './keyboard.js';

/** @import { Corner } from './crop-math.js' */
/** @import { Box } from './route.js' */

const STEP = 2; // per cent, of a key
const PAUSE_MS = 450; // after the last key
const CORNERS = Object.freeze(/** @type {const} */ (['nw', 'ne', 'sw', 'se']));

export class CropBox {
  #frame;
  #onChange;
  #timer = 0;

  /** @type {Box | null} */
  value = null;

  /**
   * @param {HTMLElement} frame It lies over the picture.
   * @param {(box: Box | null) => void} onChange A box was drawn, or removed.
   */
  constructor(frame, onChange) {
    this.#frame = frame;
    this.#onChange = onChange;
    this.corners = CORNERS.map((name) => {
      const properties = { type: 'button', class: `corner ${name}`, 'data-corner': name };
      return /** @type {const} */ ([name, createElement('button', properties)]);
    });
    const buttons = this.corners.map(([, button]) => button);
    this.box = createElement('div', { class: 'crop', tabindex: 0, role: 'group' }, ...buttons);
    this.box.hidden = true;
    frame.append(this.box);
    frame.addEventListener('pointerdown', (event) => this.#handlePointer(event));
    frame.addEventListener('keydown', (event) => this.#handleKey(event));
  }

  /**
   * Show a box, or none.
   * @param {Box | null} value
   */
  set(value) {
    clearTimeout(this.#timer); // keys that were pressed before do not matter now
    this.value = value;
    this.box.hidden = !value;
    if (!value) return;
    const [x, y, w, h] = value;
    Object.assign(this.box.style, { left: `${x}%`, top: `${y}%`, width: `${w}%`, height: `${h}%` });
    const rounded = { x: Math.round(x), y: Math.round(y), w: Math.round(w), h: Math.round(h) };
    this.box.setAttribute('aria-label', `${translate('crop_box', rounded)}. ${translate('crop_help')}`);
    for (const [name, button] of this.corners) button.setAttribute('aria-label', translate(`crop_${name}`));
  }

  /** Begin with a box in the middle, for keys and fingers. */
  begin() {
    this.set([15, 15, 70, 70]);
    this.box.focus();
    this.#onChange(this.value);
  }

  #finish() {
    const value = this.value && roundBox(this.value);
    this.set(value);
    this.#onChange(value);
  }

  /**
   * @param {PointerEvent} event
   * @returns {[number, number]} Per cent of the picture.
   */
  #getPoint({ clientX, clientY }) {
    const { left, top, width, height } = this.#frame.getBoundingClientRect();
    return [clamp((100 * (clientX - left)) / width, 0, 100), clamp((100 * (clientY - top)) / height, 0, 100)];
  }

  /**
   * Return the corner that an event is at, or null.
   * @param {Event} event
   */
  #getCorner({ target }) {
    return this.corners.find(([, button]) => button === target)?.[0] ?? null;
  }

  /** @param {PointerEvent} event */
  #handlePointer(event) {
    const corner = this.#getCorner(event);
    const isInside = event.target instanceof Node && this.box.contains(event.target);
    if (event.button !== 0 || (!isInside && event.pointerType === 'touch')) return;
    event.preventDefault();
    clearTimeout(this.#timer);
    const before = this.value;
    const start = this.#getPoint(event);
    /** @param {PointerEvent} moved */
    const drag = (moved) => {
      const to = this.#getPoint(moved);
      if (corner && this.value) this.set(resizeBox(this.value, corner, to));
      else if (isInside && before) this.set(moveBox(before, to[0] - start[0], to[1] - start[1]));
      else this.set(spanBox(start, to));
    };
    /** @param {PointerEvent} ended */
    const end = (ended) => {
      this.#frame.removeEventListener('pointermove', drag);
      this.#frame.removeEventListener('pointerup', end);
      this.#frame.removeEventListener('pointercancel', end);
      if (ended.type === 'pointercancel' || (this.value && isTooSmall(this.value))) this.set(before);
      else if (this.value && String(this.value) !== String(before)) this.#finish();
      if (this.value) this.#focus(corner);
    };
    this.#frame.setPointerCapture(event.pointerId);
    this.#frame.addEventListener('pointermove', drag);
    this.#frame.addEventListener('pointerup', end);
    this.#frame.addEventListener('pointercancel', end);
  }

  /** @param {Corner | null} corner Or the whole box. */
  #focus(corner) {
    const button = this.corners.find(([name]) => name === corner)?.[1];
    (button ?? this.box).focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    if (isBrowserShortcut(event)) return;
    if (isDeleteKey(event)) {
      event.preventDefault();
      moveFocus(this.box, getElement('crop-start'));
      this.set(null);
      this.#onChange(null);
      return;
    }
    const direction = getDirection(event);
    if (!direction || !this.value) return;
    event.preventDefault();
    const [right, down] = direction.map((part) => part * STEP);
    const corner = this.#getCorner(event) ?? (event.shiftKey ? 'se' : null);
    if (corner) {
      const [x, y] = getCorner(this.value, corner);
      this.set(resizeBox(this.value, corner, [x + right, y + down]));
    } else this.set(moveBox(this.value, right, down));
    this.#timer = setTimeout(() => this.#finish(), PAUSE_MS);
  }
}
