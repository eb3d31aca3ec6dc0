// Zooming a picture and moving it: wheel, double click, one and two fingers, keys, buttons.

import { WHOLE, limitView, readSwipe, zoomAt } from './zoom-math.js';

/** @import { View } from './zoom-math.js' */

const STEP = 1.5; // factor of a key or a button
const DOUBLE = 2.5; // scale of a double click
const WHEEL = 0.0022; // logarithm of the factor, for each pixel of the wheel

export class Zoom {
  #stage;
  #image;
  #onSwipe;

  /** @type {View} */
  #view = WHOLE;

  /** Where the fingers or the mouse are, in pixels of the page. @type {Map<number, PointerEvent>} */
  #pointers = new Map();

  /** Where the only finger began, for a swipe. @type {PointerEvent | null} */
  #start = null;

  /** Whether the picture was moved since the pointer was pressed, so that its click means nothing. */
  hasMoved = false;

  /**
   * @param {HTMLElement} stage
   * @param {HTMLImageElement} image
   * @param {(by: -1 | 1) => void} onSwipe
   */
  constructor(stage, image, onSwipe) {
    this.#stage = stage;
    this.#image = image;
    this.#onSwipe = onSwipe;
    stage.addEventListener('wheel', (event) => {
      event.preventDefault();
      const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 24 : event.deltaY;
      this.#zoom(Math.exp(-pixels * WHEEL * (event.ctrlKey ? 4 : 1)), event);
    }, { passive: false });
    stage.addEventListener('dblclick', (event) => {
      if (event.target === image || event.target === stage) this.#zoom(this.isZoomed ? 0 : DOUBLE, event);
    });
    stage.addEventListener('pointerdown', (event) => this.#press(event));
    stage.addEventListener('pointermove', (event) => this.#move(event));
    for (const name of /** @type {const} */ (['pointerup', 'pointercancel'])) {
      stage.addEventListener(name, (event) => this.#release(event));
    }
    addEventListener('resize', () => this.#show(this.#view));
  }

  get isZoomed() {
    return this.#view.scale > 1.001;
  }

  get scale() {
    return this.#view.scale;
  }

  reset() {
    this.#pointers.clear();
    this.#show(WHOLE);
  }

  /** @param {1 | -1} direction */
  step(direction) {
    this.#zoom(direction > 0 ? STEP : 1 / STEP);
  }

  /**
   * Move the picture by a part of the window.
   * @param {number} right
   * @param {number} down
   */
  pan(right, down) {
    const { clientWidth, clientHeight } = this.#stage;
    const { scale, x, y } = this.#view;
    this.#show({ scale, x: x - right * clientWidth * 0.2, y: y - down * clientHeight * 0.2 });
  }

  /**
   * Zoom at a point, or in the middle. Factor 0: to the whole picture.
   * @param {number} factor
   * @param {MouseEvent} [event]
   */
  #zoom(factor, event) {
    const point = event ? this.#getPoint(event) : { x: 0, y: 0 };
    this.#show(factor ? zoomAt(this.#view, factor, point) : WHOLE);
  }

  /** @param {{ clientX: number, clientY: number }} event */
  #getPoint({ clientX, clientY }) {
    const { left, top, width, height } = this.#stage.getBoundingClientRect();
    return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
  }

  /** @param {PointerEvent} event */
  #press(event) {
    const target = event.target instanceof Element ? event.target : null;
    const isSelecting = event.pointerType === 'mouse' && target?.closest('.text-line'); // a mouse selects text there
    if (event.button > 0 || target?.closest('button') || isSelecting) return;
    this.#pointers.set(event.pointerId, event);
    this.#start = this.#pointers.size === 1 ? event : null;
    this.hasMoved = false;
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const [other] = [...this.#pointers.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
    this.#pointers.set(event.pointerId, event);
    const { scale, x, y } = this.#view;
    if (other) {
      const factor = getDistance(event, other) / Math.max(1, getDistance(before, other));
      const [from, to] = [before, event].map((one) => this.#getPoint(getMiddle(one, other)));
      const next = zoomAt(this.#view, factor, from); // what is under the fingers stays there
      this.#show({ ...next, x: next.x + to.x - from.x, y: next.y + to.y - from.y });
      this.hasMoved = true;
    } else if (this.isZoomed) {
      this.#stage.setPointerCapture(event.pointerId);
      this.#show({ scale, x: x + event.clientX - before.clientX, y: y + event.clientY - before.clientY });
      this.hasMoved ||= this.#start !== null && getDistance(event, this.#start) > 4;
    }
  }

  /** @param {PointerEvent} event */
  #release(event) {
    if (!this.#pointers.delete(event.pointerId) || event.type === 'pointercancel') return;
    const start = this.#start;
    this.#start = null;
    if (!start || this.isZoomed || this.#pointers.size || event.pointerType === 'mouse') return;
    const by = readSwipe(event.clientX - start.clientX, event.clientY - start.clientY);
    if (!by) return;
    this.hasMoved = true;
    this.#onSwipe(by);
  }

  /** @param {View} view */
  #show(view) {
    const picture = { width: this.#image.clientWidth, height: this.#image.clientHeight };
    const room = { width: this.#stage.clientWidth, height: this.#stage.clientHeight };
    this.#view = limitView(view, picture, room);
    const { scale, x, y } = this.#view;
    this.#stage.style.setProperty('--view', this.isZoomed ? `translate(${x}px, ${y}px) scale(${scale})` : 'none');
    this.#stage.classList.toggle('is-zoomed', this.isZoomed);
  }
}

/**
 * @param {PointerEvent} a
 * @param {PointerEvent} b
 */
function getMiddle(a, b) {
  return { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
}

/**
 * @param {PointerEvent} a
 * @param {PointerEvent} b
 */
function getDistance(a, b) {
  return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
}
