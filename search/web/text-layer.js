// The text in the picture that is shown large, over the picture: its lines are framed, can be
// selected and copied.

import { copyText } from './clipboard.js';
import { createElement, getElement, moveFocus } from './dom.js';
import { translate } from './i18n.js';
import { getStorage, readPreferences, writePreferences } from './preferences.js';
import { isAbort } from './problems.js';
import { fitPicture, placeLine } from './text-math.js';

/** @import { Api, TextLine } from './api.js' */

const LETTER = 0.8; // size of letters, in heights of a line

export class TextLayer {
  #api;
  #image;
  #showToast;
  #layer = getElement('detail-text');
  #toggle = getElement('detail-text-show', HTMLButtonElement);
  #copy = getElement('detail-text-copy', HTMLButtonElement);
  #pen = document.createElement('canvas').getContext('2d');
  #isShown = readPreferences(getStorage()).showsText;

  /** @type {TextLine[]} */
  #lines = [];

  /**
   * @param {Api} api
   * @param {HTMLImageElement} image
   * @param {ReturnType<import('./toast.js').createToast>} showToast
   */
  constructor(api, image, showToast) {
    this.#api = api;
    this.#image = image;
    this.#showToast = showToast;
    this.#toggle.addEventListener('click', () => this.toggle());
    this.#copy.addEventListener('click', () => this.#copyLines());
    image.addEventListener('load', () => this.#place());
    const sizes = new ResizeObserver(() => this.#place());
    for (const element of [image, image.parentElement ?? image]) sizes.observe(element);
    this.clear();
  }

  /** Take the lines away, as another picture comes. */
  clear() {
    this.#setLines([]);
  }

  /**
   * Get the text in a picture.
   * @param {string} id
   * @param {AbortSignal} signal
   */
  async load(id, signal) {
    try {
      const { lines } = await this.#api.fetchText(id, signal);
      if (!signal.aborted) this.#setLines(lines);
    } catch (error) {
      if (!isAbort(error)) this.#setLines([]); // the picture is shown without
    }
  }

  /** Show the text, or hide it; this holds for the next pictures too. */
  toggle() {
    if (!this.#lines.length) return;
    this.#isShown = !this.#isShown;
    writePreferences(getStorage(), { showsText: this.#isShown });
    this.#update();
  }

  /** @param {TextLine[]} lines */
  #setLines(lines) {
    this.#lines = lines;
    this.#layer.replaceChildren(...lines.map(createLine));
    this.#update();
  }

  #update() {
    const isShown = this.#isShown && this.#lines.length > 0;
    if (!this.#lines.length) moveFocus(this.#toggle, getElement('detail-close'));
    if (!isShown) moveFocus(this.#copy, this.#lines.length ? this.#toggle : getElement('detail-close'));
    this.#toggle.hidden = !this.#lines.length;
    this.#toggle.setAttribute('aria-pressed', String(isShown));
    this.#copy.hidden = !isShown;
    this.#layer.hidden = !isShown;
    this.#place();
  }

  /** Put the lines where they are on the picture at scale 1. The zoom moves both. */
  #place() {
    const { naturalWidth, naturalHeight, clientWidth, clientHeight, offsetLeft, offsetTop } = this.#image;
    if (this.#layer.hidden || !naturalWidth || !clientWidth || !this.#pen) return;
    const room = { width: clientWidth, height: clientHeight };
    const picture = fitPicture(room, { width: naturalWidth, height: naturalHeight });
    setBox(this.#layer, offsetLeft + picture.left, offsetTop + picture.top, picture.width, picture.height);
    for (const [i, { text, box }] of this.#lines.entries()) {
      const line = /** @type {HTMLElement} */ (this.#layer.children[i]);
      const { left, top, length, height, angle } = placeLine(box, picture, [...text].length);
      const size = height * LETTER;
      this.#pen.font = `${size}px sans-serif`;
      const stretch = length / (this.#pen.measureText(text).width || 1);
      setBox(line, left, top, length, height);
      line.style.font = `${size}px/${height}px sans-serif`;
      line.style.transform = `rotate(${angle}rad)`;
      const letters = /** @type {HTMLElement} */ (line.firstElementChild);
      letters.style.transform = `scaleX(${stretch})`;
    }
  }

  async #copyLines() {
    const isCopied = await copyText(this.#lines.map(({ text }) => text).join('\n'));
    this.#showToast(translate(isCopied ? 'text_copied' : 'copy_failed'));
  }
}

/** @param {TextLine} line */
function createLine({ text }) {
  return createElement('p', { class: 'text-line' }, createElement('span', { text }));
}

/**
 * @param {HTMLElement} element
 * @param {number} left Pixels.
 * @param {number} top
 * @param {number} width
 * @param {number} height
 */
function setBox({ style }, left, top, width, height) {
  style.left = `${left}px`;
  style.top = `${top}px`;
  style.width = `${width}px`;
  style.height = `${height}px`;
}
