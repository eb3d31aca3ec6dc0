// A view over a picture of a query, on which the part is drawn that the model paints over.

import { createElement, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { getBrushAction, isAcceptKey } from './keyboard.js';
import { MaskBrush } from './mask-brush.js';
import { MaskCanvas } from './mask-canvas.js';
import { planMask } from './mask-math.js';
import { drawPicture, loadPicture, measurePicture } from './picture-pixels.js';
import { formatProblem, isAbort, toProblem } from './problems.js';

/** @import { Size } from './mask-math.js' */
/** @import { Box } from './route.js' */

/**
 * A picture to draw on. address: of what is shown; size: of the upright picture in pixels; crop: the part that is
 * searched by; mask: the one that was drawn before.
 * @typedef {{ address: string, size: Size, crop: Box | null, mask: Blob | null }} Original
 */

export class PaintingDialog {
  #dialog = getElement('painting', HTMLDialogElement);
  #area = getElement('painting-area');
  #state = getElement('painting-state');
  #problem = getElement('painting-problem');
  #progress = getElement('painting-progress');
  #apply = getElement('painting-apply');
  #undo = getElement('painting-undo');
  #clear = getElement('painting-clear');
  #mask = new MaskCanvas(getElement('painting-mask', HTMLCanvasElement));
  #brush = new MaskBrush(this.#mask, () => this.#showState());

  /** What ends when the dialog closes. */
  #opened = new AbortController();

  /** @type {ReturnType<typeof planMask> | null} */
  #plan = null;

  /** @type {(mask: Blob, signal: AbortSignal) => Promise<void>} */
  #paint = async () => {};

  constructor() {
    for (const id of ['painting-close', 'painting-cancel']) getElement(id).addEventListener('click', () => this.close());
    this.#dialog.addEventListener('close', () => this.#opened.abort());
    this.#dialog.addEventListener('keydown', (event) => this.#handleKey(event));
    this.#apply.addEventListener('click', () => this.#handleApply());
    this.#undo.addEventListener('click', () => this.#takeBack());
    this.#clear.addEventListener('click', () => this.#handleClear());
    getElement('painting-picture').setAttribute('aria-label', translate('query_alt'));
  }

  /**
   * Open the dialog.
   * @param {(signal: AbortSignal) => Promise<Original>} load Loads what is drawn on.
   * @param {(mask: Blob, signal: AbortSignal) => Promise<void>} paint Called with the mask. The dialog closes after it.
   */
  async open(load, paint) {
    this.#opened = new AbortController();
    const { signal } = this.#opened;
    this.#paint = paint;
    this.#plan = null;
    this.#area.hidden = true;
    this.#problem.textContent = '';
    getElement('painting-drawer', HTMLInputElement).checked = true;
    this.#setBusy(true, translate('loading'));
    this.#dialog.showModal();
    try {
      await this.#load(await load(signal), signal);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.#setBusy(false, '');
      this.#problem.textContent = formatProblem(toProblem(error), translator);
    }
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /**
   * @param {Original} original
   * @param {AbortSignal} signal
   */
  async #load({ address, size, crop, mask }, signal) {
    const picture = await loadPicture(address, crop);
    const plan = planMask(size, crop);
    const before = mask && (await cutMask(mask, plan));
    if (signal.aborted) return;
    drawPicture(getElement('painting-picture', HTMLCanvasElement), picture, measurePicture(picture));
    this.#plan = plan;
    this.#mask.start(plan.part, before);
    this.#area.style.setProperty('--ratio', String(plan.part.width / plan.part.height));
    this.#area.hidden = false;
    this.#setBusy(false, '');
    this.#area.focus({ preventScroll: true });
    this.#brush.reset();
    this.#showState();
  }

  /**
   * @param {boolean} isBusy
   * @param {string} text
   */
  #setBusy(isBusy, text) {
    this.#brush.isLocked = isBusy;
    this.#progress.hidden = !isBusy;
    this.#state.textContent = text;
    for (const button of [this.#apply, this.#undo, this.#clear]) setEnabled(button, false);
  }

  /** Say how much is marked, and offer what can be done. */
  #showState() {
    if (!this.#plan) return;
    const share = this.#mask.measure();
    const known = share > 0 && share < 1 ? 'paint_share' : share ? 'paint_all' : 'paint_none';
    const percent = Math.min(0.99, Math.max(0.01, share)); // neither nothing nor everything
    this.#state.textContent = translate(known, { share: translator.formatPercent(percent) });
    setEnabled(this.#apply, known === 'paint_share');
    setEnabled(this.#undo, this.#mask.canUndo);
    setEnabled(this.#clear, share > 0);
  }

  #takeBack() {
    if (!isEnabled(this.#undo)) return;
    this.#mask.undo();
    this.#showState();
  }

  #handleClear() {
    if (!isEnabled(this.#clear)) return;
    this.#mask.clear();
    this.#showState();
  }

  async #handleApply() {
    if (!isEnabled(this.#apply) || !this.#plan) return;
    const { signal } = this.#opened;
    this.#problem.textContent = '';
    this.#setBusy(true, translate('paint_working'));
    try {
      await this.#paint(await this.#mask.createFile(this.#plan), signal);
      if (!signal.aborted) this.close();
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.#setBusy(false, '');
      this.#showState();
      this.#problem.textContent = formatProblem(toProblem(error), translator);
    }
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    const action = getBrushAction(event);
    const isButton = event.target instanceof HTMLButtonElement;
    if (action === 'undo') this.#takeBack();
    else if (action === 'smaller' || action === 'larger') this.#brush.step(action === 'larger' ? 1 : -1);
    else if (isAcceptKey(event) && !isButton) this.#handleApply();
    else return;
    event.preventDefault();
  }
}

/**
 * Return the part of a mask that is drawn on.
 * @param {Blob} mask
 * @param {ReturnType<typeof planMask>} plan
 */
async function cutMask(mask, { whole, part }) {
  const bitmap = await createImageBitmap(mask);
  const canvas = createElement('canvas', { width: Math.round(part.width), height: Math.round(part.height) });
  const [across, down] = [bitmap.width / whole.width, bitmap.height / whole.height];
  const from = /** @type {const} */ ([part.x * across, part.y * down, part.width * across, part.height * down]);
  canvas.getContext('2d')?.drawImage(bitmap, ...from, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}

/**
 * A button keeps the focus when it is not enabled.
 * @param {HTMLElement} button
 * @param {boolean} value
 */
function setEnabled(button, value) {
  Object.assign(button, { ariaDisabled: value ? null : 'true' });
}

/** @param {HTMLElement} button */
function isEnabled(button) {
  return !button.ariaDisabled;
}
