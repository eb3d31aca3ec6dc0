// What is done to the picture of a query before it is searched by: noise and darkness are removed, and
// a part that somebody marks is painted over. The result becomes the picture of the query, and the
// original stays beside it.

import { getElement, moveFocus } from './dom.js';
import { decodeFile } from './file-store.js';
import { translate, translator } from './i18n.js';
import { PaintingDialog } from './painting-dialog.js';
import { loadPicture } from './picture-pixels.js';
import { formatProblem, toProblem } from './problems.js';
import { writeCrop } from './query.js';

/** @import { Api } from './api.js' */
/** @import { FileStore } from './file-store.js' */
/** @import { PictureAddresses } from './picture-addresses.js' */
/** @import { Origin, QueryTerm } from './route.js' */

/**
 * What the restoration calls.
 * @typedef {object} Callbacks
 * @property {(term: QueryTerm) => void} onChange Another picture takes the place of the one that is shown large.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

/**
 * The parts that it works with.
 * @typedef {{ api: Api, files: FileStore, addresses: PictureAddresses }} Parts
 */

export class Restoration {
  #parts;
  #callbacks;
  #button = getElement('restore');
  #note = getElement('restore-note');
  #paintButton = getElement('paint');
  #figure = getElement('restored-from');
  #dialog = new PaintingDialog();

  /** The picture that is shown large. @type {QueryTerm | null} */
  #term = null;

  /** What the picture was made of, as far as that is shown. @type {Origin | undefined} */
  #origin;

  /**
   * @param {Parts} parts
   * @param {Callbacks} callbacks
   */
  constructor(parts, callbacks) {
    this.#parts = parts;
    this.#callbacks = callbacks;
    this.#button.addEventListener('click', () => this.#restore());
    this.#paintButton.addEventListener('click', () => this.#openPainting());
    getElement('restored-undo').addEventListener('click', () => this.#undo());
  }

  /**
   * Show what a picture was made of.
   * @param {QueryTerm | null} term The picture that is shown large.
   */
  show(term) {
    if (term?.what !== this.#term?.what) this.#dialog.close();
    this.#term = term;
    if (!term) this.#showPainting(false);
    const origin = term?.from;
    const label = this.#paintButton.lastElementChild ?? this.#paintButton;
    label.textContent = translate(origin?.mask ? 'paint_change' : 'paint');
    getElement('restored-caption').textContent = translate(origin?.mask ? 'painted_from' : 'restored_from');
    const isOther = getKey(origin) !== getKey(this.#origin);
    this.#origin = origin;
    if (isOther) this.#showOrigin(origin);
    this.#figure.hidden = !origin;
  }

  /**
   * Take the picture for the same one under another name, so that what is being drawn on it stays.
   * @param {string} what
   */
  rename(what) {
    if (this.#term) this.#term = { ...this.#term, what };
  }

  /** @param {Origin | undefined} origin */
  async #showOrigin(origin) {
    const image = getElement('restored-image', HTMLImageElement);
    image.hidden = true;
    if (!origin) return;
    image.alt = translate(origin.mask ? 'painted_from' : 'restored_from');
    const { what, crop } = origin.term;
    try {
      const picture = await loadPicture(await this.#parts.addresses.find(what), crop);
      if (getKey(origin) !== getKey(this.#origin)) return;
      image.src = picture instanceof HTMLImageElement ? picture.src : picture.toDataURL('image/jpeg');
      image.hidden = false;
    } catch {
      // the search by it says what is wrong
    }
  }

  /**
   * Ask what can be done to the picture, and whether it is worth to be restored, and offer that.
   * @param {AbortSignal} signal It ends when another picture is shown.
   */
  async offer(signal) {
    for (const part of [this.#note, this.#button]) part.hidden = true;
    const { api, addresses } = this.#parts;
    if (!this.#term) return;
    try {
      const source = await addresses.findSource(this.#term.what);
      const { restored, paints } = await api.restore(source, { estimate: true }, signal);
      if (signal.aborted) return;
      this.#showPainting(paints);
      if (!restored.applied.length) return;
      this.#note.textContent = translate(restored.applied.includes('brighten') ? 'restore_dark' : 'restore_noise');
      for (const part of [this.#note, this.#button]) part.hidden = false;
    } catch {
      if (!signal.aborted) this.#showPainting(false); // the search says what is wrong
    }
  }

  /** @param {boolean} isOffered */
  #showPainting(isOffered) {
    if (!isOffered) moveFocus(this.#paintButton, getElement('query-variants'));
    this.#paintButton.hidden = !isOffered;
  }

  /** Search by the restored picture instead. */
  async #restore() {
    const term = this.#term;
    if (this.#button.ariaDisabled || !term) return;
    const { api, files, addresses } = this.#parts;
    const label = this.#button.lastElementChild ?? this.#button;
    this.#button.ariaDisabled = 'true';
    label.textContent = translate('restoring');
    try {
      const { png } = await api.restore(await addresses.findSource(term.what), writeCrop(term));
      if (png === null || term.what !== this.#term?.what) return;
      const [number] = files.add([decodeFile(png, translate('restored_name'), 'image/png')]);
      this.#callbacks.onChange({ ...term, what: `file:${number}`, crop: null, from: { term } });
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    } finally {
      this.#button.ariaDisabled = null;
      label.textContent = translate('restore');
    }
  }

  /** Let somebody mark what is painted over: on the original, if that was done already. */
  #openPainting() {
    const shown = this.#term;
    if (!shown) return;
    const { api, files, addresses } = this.#parts;
    const isPainted = shown.from?.mask !== undefined;
    const term = isPainted && shown.from ? shown.from.term : shown;
    const number = shown.from?.mask ?? -1;
    this.#dialog.open(
      async (signal) => {
        const source = await addresses.findSource(term.what);
        const [address, { width, height }] = await Promise.all([
          addresses.find(term.what), api.restore(source, { estimate: true }, signal), files.load([number]),
        ]);
        return { address, size: { width, height }, crop: term.crop, mask: files.get(number)?.blob ?? null };
      },
      async (mask, signal) => {
        const source = await addresses.findSource(term.what);
        const { png } = await api.restore(source, writeCrop(term), signal, mask);
        if (png === null || signal.aborted) return;
        const [drawn, painted] = files.add([new File([mask], 'mask.png'), decodeFile(png, translate('painted_name'), 'image/png')]);
        const { weight } = shown;
        const crop = isPainted ? shown.crop : null; // of what was painted over: it has the same sides
        this.#callbacks.onChange({ what: `file:${painted}`, weight, crop, from: { term, mask: drawn } });
      },
    );
  }

  /** Search by the original again. */
  #undo() {
    if (this.#term?.from) this.#callbacks.onChange({ ...this.#term.from.term, weight: this.#term.weight });
  }
}

/**
 * Return a key of what an origin shows.
 * @param {Origin | undefined} origin
 */
function getKey(origin) {
  return JSON.stringify([origin?.term.what, origin?.term.crop]);
}
