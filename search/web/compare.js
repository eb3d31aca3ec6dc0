// A variant over the picture that it was made of, with an edge between them to drag.

import { closeOnOutsideClick, getElement } from './dom.js';
import { EdgeSlider } from './edge-slider.js';
import { translate } from './i18n.js';
import { isPressKey } from './keyboard.js';

/** @import { NamedVariant } from './variants.js' */

export class CompareDialog {
  #dialog = getElement('compare', HTMLDialogElement);
  #edge;
  #pair = getElement('compare-pair');
  #query = getElement('compare-query', HTMLImageElement);

  /** @type {NamedVariant | null} */
  #variant = null;

  /** @param {Record<'onSearch' | 'onKeep', (variant: NamedVariant) => void>} callbacks */
  constructor({ onSearch, onKeep }) {
    this.#edge = new EdgeSlider({
      pair: this.#pair, upper: this.#query, line: getElement('compare-line'),
      slider: getElement('compare-edge', HTMLInputElement),
    });
    getElement('compare-close').addEventListener('click', () => this.#dialog.close());
    getElement('compare-search').addEventListener('click', () => this.#variant && onSearch(this.#variant));
    getElement('compare-keep').addEventListener('click', () => this.#variant && onKeep(this.#variant));
    closeOnOutsideClick(this.#dialog);
    const button = getElement('compare-hold');
    button.addEventListener('pointerdown', () => this.#hold(true));
    button.addEventListener('keydown', (event) => {
      if (isPressKey(event)) this.#hold(true);
    });
    for (const name of ['pointerup', 'pointerleave', 'pointercancel', 'keyup', 'blur']) {
      button.addEventListener(name, () => this.#hold(false));
    }
  }

  /**
   * Show a variant over the picture that it was made of.
   * @param {HTMLImageElement} query
   * @param {NamedVariant} variant
   */
  show(query, variant) {
    this.#variant = variant;
    this.#pair.style.setProperty('--ratio', String(query.naturalWidth / query.naturalHeight || 1));
    this.#query.src = query.src;
    this.#query.alt = translate('query_alt');
    const image = getElement('compare-variant', HTMLImageElement);
    image.src = variant.url;
    image.alt = translate('variant', { n: variant.place });
    getElement('compare-name').textContent = variant.about;
    const link = getElement('compare-download', HTMLAnchorElement);
    link.href = variant.url;
    link.download = variant.file;
    this.#edge.reset();
    this.#dialog.showModal();
    getElement('compare-edge').focus();
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /** @param {boolean} isHeld */
  #hold(isHeld) {
    getElement('compare-hold').classList.toggle('is-pressed', isHeld);
    this.#edge.reveal(isHeld ? 100 : undefined);
  }
}
