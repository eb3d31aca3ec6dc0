// Variants in a grid, each with its score and what can be done with it.

import { getAddress } from './api.js';
import { createElement, createIcon, getElement } from './dom.js';
import { translate } from './i18n.js';
import { splitPath } from './paths.js';
import { formatRoute, routeToPicture } from './route.js';
import { chooseColumns, getTileRatio } from './tile-layout.js';

/** @import { NamedVariant } from './variants.js' */

/**
 * What the tiles call.
 * @typedef {object} Callbacks
 * @property {(variant: NamedVariant) => void} onSearch
 * @property {(variant: NamedVariant) => void} onCompare
 * @property {(variant: NamedVariant, button: HTMLElement) => void} onKeep
 * @property {(event: MouseEvent) => void} onFollow A link to results was clicked.
 */

export class VariantTiles {
  #list = getElement('variants-list');
  #query;
  #callbacks;

  /**
   * @param {HTMLImageElement} query The picture that variants are made of; tiles have its shape.
   * @param {Callbacks} callbacks
   */
  constructor(query, callbacks) {
    this.#query = query;
    this.#callbacks = callbacks;
  }

  /**
   * Show variants.
   * @param {NamedVariant[]} variants
   */
  show(variants) {
    const hasSources = variants.some(({ source }) => source);
    this.#arrange(variants.map((variant) => this.#createTile(variant)), hasSources);
  }

  /**
   * Show the places of variants that are being made.
   * @param {number} count
   */
  showBlanks(count) {
    this.#arrange(Array.from({ length: count }, () => this.#createBlank()), false);
    this.#list.parentElement?.scrollIntoView({ block: 'nearest' });
  }

  /**
   * Show what the variants look like by now, in their places.
   * @param {string[]} urls
   */
  showPreviews(urls) {
    for (const [i, url] of urls.entries()) {
      const image = this.#list.children[i]?.querySelector('img');
      if (image) image.src = url;
    }
  }

  /**
   * @param {HTMLElement[]} tiles
   * @param {boolean} hasSources
   */
  #arrange(tiles, hasSources) {
    getElement('variants-empty').hidden = tiles.length > 0;
    const panel = (this.#list.parentElement ?? this.#list).getBoundingClientRect();
    const { columns, width } = chooseColumns(panel, tiles.length, this.#ratio, hasSources);
    this.#list.style.setProperty('--columns', String(columns));
    this.#list.style.setProperty('--wide', `${width}px`);
    this.#list.replaceChildren(...tiles);
  }

  get #ratio() {
    return getTileRatio(this.#query.naturalWidth, this.#query.naturalHeight);
  }

  /** @param {string} [src] */
  #createImage(src) {
    const image = createElement('img', { alt: '', src });
    image.style.aspectRatio = String(this.#ratio);
    return image;
  }

  #createBlank() {
    const image = this.#createImage();
    image.addEventListener('load', () => image.classList.add('is-started'));
    const frame = createElement('span', { class: 'variant-open' }, image);
    return createElement('li', { class: 'placeholder' }, frame, createElement('div', { class: 'tools' }));
  }

  /** @param {NamedVariant} variant */
  #createTile(variant) {
    const label = translate('search_with', { n: variant.place, about: variant.about });
    const button = createElement(
      'button',
      {
        type: 'button',
        class: 'variant-open',
        'aria-label': label,
        title: translate('search_by_it'),
        click: () => this.#callbacks.onSearch(variant),
      },
      this.#createImage(variant.url),
    );
    const source = variant.source ? [this.#createSourceLink(variant.source)] : [];
    return createElement('li', {}, button, this.#createTools(variant), ...source);
  }

  /** @param {NamedVariant} variant */
  #createTools(variant) {
    /** @param {'compare' | 'download' | 'keep'} key */
    const nameTool = (key) => {
      const name = translate(key);
      return { title: name, 'aria-label': `${name}, ${translate('variant', { n: variant.place })}` };
    };
    const compare = () => this.#callbacks.onCompare(variant);
    /** @param {MouseEvent & { currentTarget: HTMLElement }} event */
    const keep = ({ currentTarget }) => this.#callbacks.onKeep(variant, currentTarget);
    const button = { type: 'button', class: 'icon' };
    const link = { class: 'button icon', href: variant.url, download: variant.file };
    return createElement(
      'div',
      { class: 'tools' },
      createElement('span', { class: 'score', text: variant.score, title: variant.about }),
      createElement('button', { ...button, ...nameTool('compare'), click: compare }, createIcon('compare')),
      createElement('a', { ...link, ...nameTool('download') }, createIcon('download')),
      createElement('button', { ...button, class: 'icon keep-button', ...nameTool('keep'), click: keep }, createIcon('keep')),
    );
  }

  /**
   * Create the link to the picture that a variant started from.
   * @param {{ id: string, path: string }} source
   */
  #createSourceLink({ id, path }) {
    const { name } = splitPath(path);
    return createElement(
      'a',
      {
        class: 'source',
        href: formatRoute(routeToPicture(id)),
        title: path,
        'aria-label': translate('source_link', { name }),
        click: this.#callbacks.onFollow,
      },
      createElement('img', { src: getAddress(id, 'thumbnail'), alt: '' }),
      createElement('span', { text: translate('source', { name }) }),
    );
  }
}
