// An edge between a picture and one that lies on it. It is dragged, or moved by a slider.

import { translate } from './i18n.js';

export class EdgeSlider {
  #parts;

  /**
   * @param {{ pair: HTMLElement, upper: HTMLElement, line: HTMLElement, slider: HTMLInputElement }} parts pair: both
   *   pictures; upper: the one that is shown left of the edge; line: the edge.
   */
  constructor(parts) {
    const { pair, slider } = parts;
    this.#parts = parts;
    slider.addEventListener('input', () => this.reveal());
    pair.addEventListener('pointerdown', (event) => {
      pair.setPointerCapture(event.pointerId);
      this.#drag(event);
    });
    pair.addEventListener('pointermove', (event) => this.#drag(event));
  }

  /** Put the edge into the middle. */
  reset() {
    this.#parts.slider.value = '50';
    this.reveal();
  }

  /** @param {PointerEvent} event */
  #drag({ buttons, clientX }) {
    if (!buttons) return;
    const { left, width } = this.#parts.pair.getBoundingClientRect();
    this.#parts.slider.value = String(Math.round((100 * (clientX - left)) / width));
    this.reveal();
  }

  /**
   * Show a part of the upper picture, from the left.
   * @param {number} [share] Per cent.
   */
  reveal(share = Number(this.#parts.slider.value)) {
    const { upper, line, slider } = this.#parts;
    upper.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    line.style.left = `${share}%`;
    line.hidden = share <= 0 || share >= 100;
    slider.setAttribute('aria-valuetext', translate('compare_share', { n: share }));
  }
}
