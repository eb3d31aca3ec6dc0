// The brush over a picture: it follows the mouse, a pen or a finger, or the arrow keys, and draws on a mask.

import { getElement } from './dom.js';
import { getBrushAction, getDirection, isBrowserShortcut, isDrawKey } from './keyboard.js';
import { stepBrush } from './mask-math.js';

/** @import { MaskCanvas, Point } from './mask-canvas.js' */

const ERASER = 32; // of the buttons of a pen

export class MaskBrush {
  #mask;
  #onDrawn;
  #area = getElement('painting-area');
  #cursor = getElement('painting-brush');
  #size = getElement('painting-size', HTMLInputElement);

  /** Where the brush is. @type {Point} */
  #point = [0, 0];

  /** Number of the pointer that draws, or null. @type {number | null} */
  #pointer = null;

  /** Whether the arrow keys draw. */
  #drawsByKeys = false;

  /** Whether nothing can be drawn now. */
  isLocked = false;

  /**
   * @param {MaskCanvas} mask
   * @param {() => void} onDrawn A stroke has ended.
   */
  constructor(mask, onDrawn) {
    this.#mask = mask;
    this.#onDrawn = onDrawn;
    const area = this.#area;
    area.addEventListener('pointerdown', (event) => this.#press(event));
    area.addEventListener('pointermove', (event) => this.#move(event));
    for (const name of /** @type {const} */ (['pointerup', 'pointercancel'])) area.addEventListener(name, (event) => this.#release(event));
    area.addEventListener('pointerleave', () => this.#showCursor(false));
    area.addEventListener('keydown', (event) => this.#handleKey(event));
    area.addEventListener('keyup', (event) => {
      if (isDrawKey(event)) this.#endKeys();
    });
    area.addEventListener('focus', () => this.#showCursor(area.matches(':focus-visible')));
    area.addEventListener('blur', () => {
      this.#endKeys();
      this.#showCursor(false);
    });
    this.#size.addEventListener('input', () => this.#showCursor(!this.#cursor.hidden));
  }

  /** Begin in the middle of another mask. */
  reset() {
    const { width, height } = this.#mask.size;
    this.#point = [width / 2, height / 2];
    this.#pointer = null;
    this.#drawsByKeys = false;
    this.#showCursor(this.#area.matches(':focus-visible'));
  }

  /**
   * Change the size.
   * @param {number} by -1 or 1
   */
  step(by) {
    this.#size.value = String(stepBrush(Number(this.#size.value), by));
    this.#showCursor(!this.#cursor.hidden);
  }

  /** Pixels of the mask. */
  get #radius() {
    const { width, height } = this.#mask.size;
    return (Number(this.#size.value) / 200) * Math.min(width, height);
  }

  get #isErasing() {
    return getElement('painting-eraser', HTMLInputElement).checked;
  }

  /**
   * @param {Pick<PointerEvent, 'clientX' | 'clientY'>} event
   * @returns {Point}
   */
  #locate({ clientX, clientY }) {
    const { left, top, width, height } = this.#area.getBoundingClientRect();
    const { size } = this.#mask;
    return [((clientX - left) / width) * size.width, ((clientY - top) / height) * size.height];
  }

  /** @param {boolean} isShown */
  #showCursor(isShown) {
    const { width, height } = this.#mask.size;
    const [x, y] = this.#point;
    this.#cursor.hidden = !isShown;
    Object.assign(this.#cursor.style, {
      left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%`, width: `${(200 * this.#radius) / width}%`,
    });
  }

  /** @param {PointerEvent} event */
  #press(event) {
    const isEraser = event.buttons === ERASER;
    if ((event.button !== 0 && !isEraser) || this.#pointer !== null || this.isLocked) return;
    event.preventDefault();
    this.#endKeys();
    this.#area.focus({ preventScroll: true });
    this.#area.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    this.#point = this.#locate(event);
    this.#mask.begin(this.#point, this.#radius, this.#isErasing || isEraser);
    this.#showCursor(true);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const isDrawing = event.pointerId === this.#pointer;
    if (this.isLocked || (this.#pointer !== null && !isDrawing)) return;
    this.#point = this.#locate(event);
    this.#showCursor(isDrawing || event.pointerType !== 'touch');
    if (!isDrawing) return;
    const events = event.getCoalescedEvents?.() ?? [];
    this.#mask.extend((events.length ? events : [event]).map((one) => this.#locate(one)));
  }

  /** @param {PointerEvent} event */
  #release({ pointerId, pointerType }) {
    if (pointerId !== this.#pointer) return;
    this.#pointer = null;
    if (pointerType === 'touch') this.#showCursor(false);
    this.#onDrawn();
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    if (this.isLocked || this.#pointer !== null || isBrowserShortcut(event)) return;
    const direction = getDirection(event);
    const isSpot = getBrushAction(event) === 'spot';
    if (!direction && !isSpot) return;
    event.preventDefault();
    if (isSpot) {
      this.#mask.begin(this.#point, this.#radius, this.#isErasing);
      this.#onDrawn();
    } else if (direction) this.#go(direction, event.shiftKey);
    this.#showCursor(true);
  }

  /**
   * Move by half a radius.
   * @param {readonly [number, number]} direction
   * @param {boolean} draws
   */
  #go(direction, draws) {
    const { width, height } = this.#mask.size;
    if (draws && !this.#drawsByKeys) this.#mask.begin(this.#point, this.#radius, this.#isErasing);
    this.#drawsByKeys ||= draws;
    const [x, y] = this.#point.map((part, i) => part + (direction[i] * Math.max(1, this.#radius)) / 2);
    this.#point = [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))];
    if (draws) this.#mask.extend([this.#point]);
  }

  #endKeys() {
    if (this.#drawsByKeys) this.#onDrawn();
    this.#drawsByKeys = false;
  }
}
