// A variant over the picture that it was made of, with an edge between them to drag.

import { byId, dismiss } from './node.js';
import { say } from './words.js';

export class Compare {
  /** search(variant), keep(variant): what its buttons do. */
  constructor({ search, keep }) {
    this.dialog = byId('compare');
    this.edge = byId('compare-edge');
    this.edge.addEventListener('input', () => this.#wipe());
    byId('compare-close').addEventListener('click', () => this.dialog.close());
    byId('compare-search').addEventListener('click', () => search(this.variant));
    byId('compare-keep').addEventListener('click', () => keep(this.variant));
    dismiss(this.dialog);
    this.both = byId('compare-both');
    this.both.addEventListener('pointerdown', (event) => this.both.setPointerCapture(event.pointerId));
    for (const name of ['pointerdown', 'pointermove']) {
      this.both.addEventListener(name, (event) => this.#dragged(event));
    }
    const hold = byId('compare-hold');
    for (const name of ['pointerdown', 'keydown']) {
      hold.addEventListener(name, (event) => {
        if (!event.key || event.key === ' ' || event.key === 'Enter') this.#hold(true);
      });
    }
    for (const name of ['pointerup', 'pointerleave', 'pointercancel', 'keyup', 'blur']) {
      hold.addEventListener(name, () => this.#hold(false));
    }
  }

  /** query: an <img> of the picture it was made of; variant: as the API answers, named. */
  show(query, variant) {
    this.variant = variant;
    this.both.style.setProperty('--ratio', query.naturalWidth / query.naturalHeight || 1);
    byId('compare-query').src = query.src;
    byId('compare-query').alt = say('query_alt');
    byId('compare-variant').src = variant.url;
    byId('compare-variant').alt = say('variant', { n: variant.place });
    byId('compare-name').textContent = variant.about;
    byId('compare-save').href = variant.url;
    byId('compare-save').download = variant.file;
    this.edge.value = 50;
    this.#wipe();
    this.dialog.showModal();
    this.edge.focus();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  #dragged({ buttons, clientX }) {
    if (!buttons) return;
    const { left, width } = this.both.getBoundingClientRect();
    this.edge.value = Math.round((100 * (clientX - left)) / width);
    this.#wipe();
  }

  #hold(held) {
    byId('compare-hold').classList.toggle('held', held);
    this.#wipe(held ? 100 : undefined);
  }

  /** Show so many per cent of the query, from the left. */
  #wipe(share = Number(this.edge.value)) {
    byId('compare-query').style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    byId('compare-line').style.left = `${share}%`;
    byId('compare-line').hidden = share <= 0 || share >= 100;
    this.edge.setAttribute('aria-valuetext', say('compare_share', { n: share }));
  }
}
