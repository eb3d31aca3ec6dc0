// One picture, large, with what is known of it.

import { getAddress } from './api.js';
import { createElement, createPath, getElement, moveFocus } from './dom.js';
import { translate, translator } from './i18n.js';
import { getDirection, isBrowserShortcut } from './keyboard.js';
import { splitPath } from './paths.js';
import { formatProblem, isAbort, toProblem } from './problems.js';
import { formatRoute, routeToPicture, shortenId } from './route.js';

/** @import { Api, Image, Item } from './api.js' */
/** @import { VariantQuery } from './variants.js' */
/** @import { TextKey } from './texts.js' */

/**
 * What the dialog calls.
 * @typedef {object} Callbacks
 * @property {() => void} onClose It should close.
 * @property {(by: number) => void} onStep Called to show another picture: -1 for the previous one, 1 for the next.
 * @property {(event: MouseEvent) => void} onFollow A link to results was clicked.
 * @property {(query: VariantQuery) => void} onMakeVariants
 */

export class DetailDialog {
  #api;
  #dialog = getElement('detail', HTMLDialogElement);
  #isDescribed = Promise.resolve(false);
  #image = getElement('detail-image', HTMLImageElement);

  /** Id of the picture that is shown, or empty. */
  #id = '';

  #loading = new AbortController();

  /**
   * @param {Api} api
   * @param {Callbacks} callbacks
   */
  constructor(api, { onClose, onStep, onFollow, onMakeVariants }) {
    this.#api = api;
    this.#dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      onClose();
    });
    this.#dialog.addEventListener('close', () => {
      if (this.#id) onClose(); // the browser closed it by itself
    });
    this.#dialog.addEventListener('click', ({ target }) => {
      if (target === this.#dialog || target === getElement('detail-stage')) onClose();
    });
    this.#dialog.addEventListener('keydown', (event) => {
      const [right] = getDirection(event) ?? [0];
      if (right && !isBrowserShortcut(event)) onStep(right);
    });
    getElement('detail-close').addEventListener('click', onClose);
    getElement('detail-previous').addEventListener('click', () => onStep(-1));
    getElement('detail-next').addEventListener('click', () => onStep(1));
    getElement('detail-similar').addEventListener('click', onFollow);
    getElement('detail-variants').addEventListener('click', () => {
      onMakeVariants({ source: { id: this.#id }, address: this.#image.src, name: this.#image.alt });
    });
    this.#image.addEventListener('load', () => this.#image.classList.add('ready'));
    this.#image.addEventListener('error', () => this.#showGone(this.#id));
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /**
   * Enable the buttons that step to other pictures.
   * @param {{ hasPrevious: boolean, hasNext: boolean }} neighbours
   */
  enableSteps({ hasPrevious, hasNext }) {
    for (const [id, isEnabled] of /** @type {const} */ ([['detail-previous', hasPrevious], ['detail-next', hasNext]])) {
      const button = getElement(id, HTMLButtonElement);
      if (!isEnabled) moveFocus(button, getElement('detail-close'));
      button.disabled = !isEnabled;
    }
  }

  /**
   * Show a picture.
   * @param {string} id Whole, or its beginning.
   * @param {Item | undefined} item The picture in the list, if it is there.
   */
  async show(id, item) {
    this.#loading.abort();
    this.#loading = new AbortController();
    this.#id = id;
    getElement('detail-gone').hidden = true;
    this.#image.classList.remove('ready');
    this.#image.alt = '';
    this.#image.src = getAddress(id, 'preview');
    getElement('detail-similar', HTMLAnchorElement).href = formatRoute(routeToPicture(id));
    getElement('detail-file', HTMLAnchorElement).href = getAddress(id, 'file');
    getElement('detail-facts').replaceChildren();
    getElement('detail-exif').hidden = true;
    this.#showName(item?.path ?? '');
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#isDescribed = this.#describe(id, item);
    await this.#isDescribed;
  }

  /**
   * Say that the file is gone, unless the server did not answer at all, which is told already.
   * @param {string} id
   */
  async #showGone(id) {
    const isDescribed = await this.#isDescribed;
    if (isDescribed && id === this.#id) getElement('detail-gone').hidden = false;
  }

  /**
   * Show what is known of a picture. Returns whether the server answered.
   * @param {string} id
   * @param {Item | undefined} item
   */
  async #describe(id, item) {
    try {
      const image = await this.#api.fetchImage(id, this.#loading.signal);
      this.#showName(image.path);
      this.#showFacts(image, item?.score);
      return true;
    } catch (error) {
      if (isAbort(error)) return false;
      const text = formatProblem(toProblem(error), translator);
      getElement('detail-facts').replaceChildren(createElement('p', { role: 'alert', text }));
      return false;
    }
  }

  close() {
    this.#id = '';
    this.#loading.abort();
    this.#image.removeAttribute('src');
    this.#dialog.close();
  }

  /** @param {string} path */
  #showName(path) {
    const name = splitPath(path).name || translate('picture');
    getElement('detail-name').textContent = name;
    this.#image.alt = name;
  }

  /**
   * @param {Image} image
   * @param {number} [score]
   */
  #showFacts(image, score) {
    getElement('detail-facts').replaceChildren(
      ...listFacts(image, score).flatMap(([key, value]) => createFact(translate(key), value)),
    );
    const exif = Object.entries(image.exif);
    const details = getElement('detail-exif', HTMLDetailsElement);
    details.hidden = !exif.length;
    details.open = false;
    getElement('detail-tags').replaceChildren(...exif.flatMap(([name, value]) => createFact(name, [String(value)])));
  }
}

/**
 * List what is known of a picture: the text of each name, and its value.
 * @param {Image} image
 * @param {number} [score]
 * @returns {[TextKey, (string | Node)[]][]}
 */
function listFacts(image, score) {
  const facts = /** @type {[TextKey, (string | Node)[]][]} */ ([]);
  /** @type {(key: TextKey, value: string | null | undefined | false) => void} */
  const add = (key, value) => {
    if (value) facts.push([key, [value]]);
  };
  const { latitude, longitude } = image;
  const pixels = translate('megapixels', { w: String(image.width), h: String(image.height) });
  add('fact_score', score?.toFixed(3));
  add('fact_size', `${pixels}, ${translator.formatBytes(image.bytes)}`);
  add('fact_type', image.type.toUpperCase());
  add('fact_taken', image.taken && translator.formatTime(image.taken));
  add('fact_camera', image.camera);
  if (latitude !== null && longitude !== null) add('fact_place', `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`);
  if (image.palette.length) facts.push(['fact_palette', [createSwatches(image.palette)]]);
  const labels = image.labels.map((label) => `${label.name} ${translator.formatPercent(label.score)}`);
  add('fact_labels', labels.join(', '));
  add('fact_content', image.low_content && translate('blank_picture'));
  add('fact_truncated', image.truncated && translate('truncated_picture'));
  add('fact_tags', image.tags.join(', '));
  add('fact_name', image.original_name);
  add('fact_source', image.source_url);
  facts.push(['fact_path', createPath(splitPath(image.path).folder)]);
  for (const path of image.paths) if (path !== image.path) facts.push(['fact_also', createPath(path)]);
  facts.push(['fact_id', [createElement('code', { text: shortenId(image.id), title: image.id })]]);
  return facts;
}

/**
 * @param {string} name
 * @param {(string | Node)[]} value
 */
function createFact(name, value) {
  return [createElement('dt', { text: name }), createElement('dd', {}, ...value)];
}

/** @param {string[]} palette Colours of CSS. */
function createSwatches(palette) {
  const list = createElement('span', { class: 'swatches' });
  for (const colour of palette) {
    const swatch = createElement('span', { role: 'img', 'aria-label': colour, title: colour });
    swatch.style.background = colour;
    list.append(swatch);
  }
  return list;
}
