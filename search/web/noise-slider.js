// How far variants go from their picture: a slider of the noise level, and a button for each regime.

import { createElement, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { NoiseScale, STEPS } from './noise-scale.js';

/** @import { Limits } from './noise-scale.js' */
/** @import { TextKey } from './texts.js' */

const SIDE = 72; // pixels of a regime's picture
const DETAIL = 16; // parts of a side that can be told apart under noise of 1

/** @type {Readonly<Record<string, TextKey>>} */
const NAMES = Object.freeze({ near: 'regime_near', same: 'regime_same', concept: 'regime_concept' });

/**
 * The button of a regime.
 * @typedef {{ name: string, sigma: number, button: HTMLButtonElement, canvas: HTMLCanvasElement }} Card
 */

export class NoiseSlider {
  #onChange;
  #input = getElement('variants-sigma', HTMLInputElement);
  #sigma = 0;
  #showsNoise = true;

  /** @type {NoiseScale | null} */
  #scale = null;

  /** @type {Card[]} */
  #cards = [];

  /** @param {() => void} onChange It was set to another value. */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#input.max = String(STEPS);
    this.#input.addEventListener('input', () => this.#handleInput());
  }

  /** Whether the limits of the server are known. */
  get isReady() {
    return this.#scale !== null;
  }

  /**
   * Take the limits of the server.
   * @param {Limits} limits
   */
  setLimits(limits) {
    const scale = new NoiseScale(limits);
    this.#scale = scale;
    this.#cards = scale.regimes.map(([name, sigma]) => this.#createCard(name, sigma));
    getElement('variants-regimes').replaceChildren(...this.#cards.map(({ button }) => button));
    const marks = scale.regimes.map(([, sigma]) => {
      const mark = createElement('span');
      mark.style.left = `${(100 * scale.toPosition(sigma)) / STEPS}%`;
      return mark;
    });
    getElement('variants-marks').replaceChildren(...marks);
    this.#moveTo(limits.regimes.same);
  }

  /**
   * Draw how much of a picture each regime leaves.
   * @param {HTMLImageElement} image It is loaded.
   */
  draw(image) {
    for (const { canvas, sigma } of this.#cards) drawBlurred(canvas, image, sigma);
  }

  /** The options of a request: a regime, or a noise level. */
  get value() {
    const { regime } = this;
    return regime ? { regime } : { sigma: this.#sigma };
  }

  /** The regime that it is at, or undefined. */
  get regime() {
    return this.#scale?.findRegime(this.#sigma);
  }

  /**
   * Show the noise level, or only the regime, where the server chooses the noise level.
   * @param {boolean} isShown
   */
  showNoise(isShown) {
    this.#showsNoise = isShown;
    this.#describe();
  }

  /**
   * @param {string} name
   * @param {number} sigma
   * @returns {Card}
   */
  #createCard(name, sigma) {
    const canvas = createElement('canvas', { width: SIDE, height: SIDE, 'aria-hidden': 'true' });
    const click = () => {
      this.#moveTo(sigma);
      this.#onChange();
    };
    const label = createElement('span', { text: translate(NAMES[name]) });
    const button = createElement('button', { type: 'button', 'data-regime': name, click }, canvas, label);
    return { name, sigma, button, canvas };
  }

  /** @param {number} sigma */
  #moveTo(sigma) {
    if (this.#scale) this.#input.value = String(this.#scale.toPosition(sigma));
    this.#set(sigma);
  }

  #handleInput() {
    if (!this.#scale) return;
    this.#set(this.#scale.toSigma(Number(this.#input.value)));
    this.#onChange();
  }

  /** @param {number} sigma */
  #set(sigma) {
    this.#sigma = sigma;
    for (const { name, button } of this.#cards) button.setAttribute('aria-pressed', String(name === this.regime));
    this.#describe();
  }

  #describe() {
    const place = this.#describePlace();
    const text = this.#showsNoise ? `${place}, σ ${translator.formatSignificant(this.#sigma)}` : place;
    getElement('variants-distance').textContent = text;
    this.#input.setAttribute('aria-valuetext', text);
  }

  /** Name the regime that it is at, or those that it is between. */
  #describePlace() {
    if (this.regime) return translate(NAMES[this.regime]);
    const [below, above] = this.#scale?.findNeighbours(this.#sigma) ?? [];
    if (!below) return translate('regime_nearer');
    if (!above) return translate('regime_further');
    return translate('regime_between', { a: translate(NAMES[below]), b: translate(NAMES[above]) });
  }
}

/**
 * Draw the middle of a picture without the details that are lost under noise.
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLImageElement} image
 * @param {number} sigma
 */
function drawBlurred(canvas, image, sigma) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const side = Math.min(width, height);
  const least = Math.max(1, Math.min(SIDE, Math.round(DETAIL / sigma)));
  let size = SIDE;
  let square = scaleSquare(image, [(width - side) / 2, (height - side) / 2, side], size);
  while (size > least) {
    const next = Math.max(least, Math.ceil(size / 2)); // by halves, so that each pixel counts
    square = scaleSquare(square, [0, 0, size], next);
    size = next;
  }
  canvas.getContext('2d')?.drawImage(scaleSquare(square, [0, 0, size], SIDE), 0, 0);
}

/**
 * Return a square of a picture, over white, at another size.
 * @param {CanvasImageSource} image
 * @param {[number, number, number]} square Left, top and side in pixels.
 * @param {number} size Pixels.
 */
function scaleSquare(image, [left, top, side], size) {
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext('2d');
  if (!context) return canvas;
  context.fillStyle = '#fff';
  context.fillRect(0, 0, size, size);
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, left, top, side, side, 0, 0, size, size);
  return canvas;
}
