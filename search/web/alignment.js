// The picture of a query beside a hit: outlines in each other, one laid on the other, and what they differ in.

import { getAddress } from './api.js';
import { closeOnOutsideClick, createElement, getElement } from './dom.js';
import { EdgeSlider } from './edge-slider.js';
import { formatPath } from './evidence.js';
import { findHomography, invertHomography } from './homography.js';
import { translate, translator } from './i18n.js';
import { drawPicture, loadPicture, measurePicture, readPixels, writePixels } from './picture-pixels.js';
import { findShownPart, measurePart, subtractPixels, warpPixels } from './warp.js';

/** @import { Evidence } from './api.js' */
/** @import { Box } from './route.js' */

/**
 * The picture of a query, and the part of it that is searched by.
 * @typedef {{ address: string, crop: Box | null }} QueryPicture
 */
/** @typedef {HTMLImageElement | HTMLCanvasElement} Picture */

const VIEWS = Object.freeze(/** @type {const} */ (['outline', 'overlay', 'difference']));

export class AlignmentDialog {
  #dialog = getElement('alignment', HTMLDialogElement);
  #note = getElement('alignment-note');
  #hit = getElement('alignment-hit', HTMLCanvasElement);
  #query = getElement('alignment-query', HTMLCanvasElement);
  #difference = getElement('alignment-difference', HTMLCanvasElement);
  #edge;

  /** Number of the comparison that is shown, so that late pictures of another one are left out. */
  #shown = 0;

  /** What the difference view says. */
  #differenceText = '';

  constructor() {
    this.#edge = new EdgeSlider({
      pair: getElement('alignment-pair'), upper: this.#query, line: getElement('alignment-line'),
      slider: getElement('alignment-edge', HTMLInputElement),
    });
    getElement('alignment-close').addEventListener('click', () => this.close());
    closeOnOutsideClick(this.#dialog);
    this.#dialog.addEventListener('close', () => {
      this.#shown += 1;
    });
    getElement('alignment-views').addEventListener('change', () => this.#showView());
    const canvases = /** @type {const} */ ([
      ['outline-query', 'alignment_in_query'], ['outline-hit', 'alignment_in_hit'], ['alignment-hit', 'alignment_hit'],
      ['alignment-query', 'alignment_query'], ['alignment-difference', 'alignment_difference_label'],
    ]);
    for (const [id, text] of canvases) getElement(id).setAttribute('aria-label', translate(text));
  }

  /**
   * Show a hit beside the picture of the query.
   * @param {QueryPicture} query
   * @param {string} id Of the hit.
   * @param {Evidence} evidence With outlines.
   */
  async show(query, id, evidence) {
    this.#shown += 1;
    const shown = this.#shown;
    this.#choose('outline', true);
    this.#setContent(false);
    this.#note.textContent = translate('alignment_loading');
    getElement('alignment-problem').textContent = '';
    this.#dialog.showModal();
    try {
      const pictures = [loadPicture(query.address, query.crop), loadPicture(getAddress(id, 'preview'))];
      const [own, hit] = await Promise.all(pictures);
      if (shown !== this.#shown) return;
      this.#setContent(true);
      this.#drawOutlines(own, hit, evidence);
      const canAlign = this.#align(own, hit, evidence);
      this.#choose('outline', !canAlign);
      if (!canAlign) getElement('alignment-problem').textContent = translate('alignment_shapeless');
      this.#edge.reset();
      this.#showView();
    } catch {
      if (shown !== this.#shown) return;
      this.#note.textContent = '';
      getElement('alignment-problem').textContent = translate('alignment_failed');
    }
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /**
   * @param {Picture} own
   * @param {Picture} hit
   * @param {Evidence} evidence
   */
  #drawOutlines(own, hit, { query_outline: inQuery, hit_outline: inHit }) {
    for (const [name, picture, outline] of /** @type {const} */ ([['query', own, inQuery], ['hit', hit, inHit]])) {
      const canvas = getElement(`outline-${name}`, HTMLCanvasElement);
      drawPicture(canvas, picture, measurePicture(picture));
      canvas.parentElement?.style.setProperty('--ratio', String(canvas.width / canvas.height));
      const path = formatPath(outline ?? []);
      const drawing = getElement(`outline-${name}-drawing`);
      drawing.querySelector('.outline-shade')?.setAttribute('d', `M0 0H1V1H0Z${path}`);
      for (const line of drawing.querySelectorAll('.outline-line')) line.setAttribute('d', path);
    }
  }

  /**
   * Lay the query on the hit, and compute what they differ in. Returns whether the outlines allow it.
   * @param {Picture} own
   * @param {Picture} hit
   * @param {Evidence} evidence
   */
  #align(own, hit, { query_outline: inQuery, hit_outline: inHit }) {
    const onto = findHomography(inHit ?? []);
    const part = findShownPart(inQuery ?? []);
    if (!onto || !part) return false;
    const size = measurePicture(hit);
    drawPicture(this.#hit, hit, size);
    getElement('alignment-pair').style.setProperty('--ratio', String(size.width / size.height));
    const source = createElement('canvas');
    drawPicture(source, own, measurePart(part, onto, size), part);
    const warped = warpPixels(readPixels(source), part, invertHomography(onto), size);
    const { pixels, mean } = subtractPixels(warped, readPixels(this.#hit));
    writePixels(this.#query, warped);
    writePixels(this.#difference, pixels);
    const share = translator.formatPercent(mean ?? 0);
    this.#differenceText = mean === null ? translate('alignment_apart') : translate('alignment_difference_note', { share });
    return true;
  }

  /**
   * Choose a view.
   * @param {typeof VIEWS[number]} view
   * @param {boolean} isOnly Whether there is no other.
   */
  #choose(view, isOnly) {
    for (const name of VIEWS) {
      const radio = getElement(`alignment-view-${name}`, HTMLInputElement);
      radio.checked = name === view;
      radio.disabled = isOnly && name !== view;
    }
  }

  /** @param {boolean} isShown */
  #setContent(isShown) {
    getElement('alignment-outlines').hidden = !isShown;
    for (const id of ['alignment-stage', 'alignment-slider']) getElement(id).hidden = true;
  }

  #showView() {
    const view = VIEWS.find((name) => getElement(`alignment-view-${name}`, HTMLInputElement).checked) ?? 'outline';
    getElement('alignment-outlines').hidden = view !== 'outline';
    getElement('alignment-stage').hidden = view === 'outline';
    getElement('alignment-slider').hidden = view !== 'overlay';
    getElement('alignment-pair').classList.toggle('is-difference', view === 'difference');
    this.#hit.hidden = view !== 'overlay';
    this.#query.hidden = view !== 'overlay';
    this.#difference.hidden = view !== 'difference';
    if (view === 'overlay') this.#edge.reveal();
    else getElement('alignment-line').hidden = true;
    this.#note.textContent = view === 'difference' ? this.#differenceText : translate(`alignment_${view}_note`);
  }
}
