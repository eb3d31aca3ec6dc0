// One picture, large, with what is known of it.

import { getAddress } from './api.js';
import { createElement, getElement, moveFocus } from './dom.js';
import { EvidencePanel } from './evidence-panel.js';
import { createFact, createFacts } from './facts.js';
import { FilmPanel } from './film-panel.js';
import { translate, translator } from './i18n.js';
import { getDirection, getStars, getViewAction, isBrowserShortcut } from './keyboard.js';
import { Marks } from './marks.js';
import { splitPath } from './paths.js';
import { formatProblem, isAbort, toProblem } from './problems.js';
import { SourcesPanel } from './sources-panel.js';
import { TextLayer } from './text-layer.js';
import { Zoom } from './zoom.js';

/** @import { QueryPicture } from './alignment.js' */
/** @import { Api, Image, Item } from './api.js' */
/** @import { VariantQuery } from './variants.js' */

const SLIDE_MS = 4000;
const SHARP = 1.5; // scale from which on the original is loaded
const SHOWN_BY_BROWSERS = Object.freeze(['jpeg', 'png', 'webp', 'gif', 'avif']);

/**
 * What the dialog calls.
 * @typedef {object} Callbacks
 * @property {() => void} onClose It should close.
 * @property {(by: number) => void} onStep Called to show another picture: -1 for the previous one, 1 for the next.
 * @property {(id: string) => void} onShow Another picture should be shown.
 * @property {(event: MouseEvent) => void} onFollow A link to results was clicked.
 * @property {(query: VariantQuery) => void} onMakeVariants
 * @property {(image: Image) => void} onChange A picture was changed.
 * @property {(what: string) => Promise<QueryPicture | null>} getQuery
 * @property {(id: string) => string} getLinkToSimilar The address of a search for what looks like a picture.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

/** @typedef {{ previous: Item | undefined, next: Item | undefined }} Neighbours */

export class DetailDialog {
  #api;
  #dialog = getElement('detail', HTMLDialogElement);
  #isDescribed = Promise.resolve(false);
  #image = getElement('detail-image', HTMLImageElement);

  /** Id of the picture that is shown, or empty. */
  #id = '';

  #stage = getElement('detail-stage');
  #loading = new AbortController();
  #zoom;
  #evidence;
  #film;
  #marks;
  #sources;
  #text;
  #callbacks;

  /** @type {Neighbours} */
  #neighbours = { previous: undefined, next: undefined };

  /** Timer of the slideshow, 0 if none is shown. */
  #slideTimer = 0;

  /** Type of the picture, once it is known. */
  #type = '';

  /** Whether the original is shown or on its way, instead of the preview. */
  #isSharp = false;

  /**
   * @param {Api} api
   * @param {Callbacks} callbacks
   */
  constructor(api, callbacks) {
    const { onClose, onStep, onMakeVariants, onChange, getQuery, showToast } = callbacks;
    this.#api = api;
    this.#callbacks = callbacks;
    this.#zoom = new Zoom(this.#stage, this.#image, onStep);
    this.#evidence = new EvidencePanel(getQuery);
    this.#sources = new SourcesPanel(api);
    this.#film = new FilmPanel(api, (id) => this.#callbacks.onShow(id));
    this.#text = new TextLayer(api, this.#image, showToast);
    this.#marks = new Marks(api, { onFollow: (event) => this.#follow(event), onChange, showToast });
    this.#dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      onClose();
    });
    this.#dialog.addEventListener('close', () => {
      if (this.#id) onClose(); // the browser closed it by itself
    });
    this.#dialog.addEventListener('click', ({ target }) => {
      const isOutside = target === this.#dialog || target === this.#stage;
      if (isOutside && !this.#zoom.hasMoved && !this.#zoom.isZoomed && !document.fullscreenElement) onClose();
    });
    this.#dialog.addEventListener('keydown', (event) => this.#handleKey(event));
    for (const name of ['wheel', 'dblclick', 'pointerup']) {
      this.#stage.addEventListener(name, () => this.#sharpen(), { passive: true });
    }
    getElement('detail-zoom-in').addEventListener('click', () => this.#act('in'));
    getElement('detail-zoom-out').addEventListener('click', () => this.#act('out'));
    getElement('detail-slides').addEventListener('click', () => this.#act('slides'));
    getElement('detail-full').addEventListener('click', () => this.#act('full'));
    getElement('detail-full').hidden = !document.fullscreenEnabled;
    getElement('detail-close').addEventListener('click', onClose);
    getElement('detail-previous').addEventListener('click', () => onStep(-1));
    getElement('detail-next').addEventListener('click', () => onStep(1));
    getElement('detail-similar').addEventListener('click', (event) => this.#follow(event));
    getElement('detail-variants').addEventListener('click', () => {
      onMakeVariants({ source: { id: this.#id }, address: this.#image.src, name: this.#image.alt });
    });
    this.#image.addEventListener('load', () => {
      this.#image.classList.add('is-ready');
      this.#preload();
    });
    this.#image.addEventListener('error', () => this.#showGone(this.#id));
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /**
   * Set the pictures before and after the one that is shown.
   * @param {Neighbours} neighbours
   */
  setNeighbours(neighbours) {
    this.#neighbours = neighbours;
    const buttons = /** @type {const} */ ([['detail-previous', neighbours.previous], ['detail-next', neighbours.next]]);
    for (const [id, item] of buttons) {
      const button = getElement(id, HTMLButtonElement);
      if (!item) moveFocus(button, getElement('detail-close'));
      button.disabled = !item;
    }
    if (this.#image.classList.contains('is-ready')) this.#preload();
  }

  /**
   * Show what a comparison of the picture with the query shows, once it is there.
   * @param {Item | undefined} item The picture in the list, if it is there.
   */
  setEvidence(item) {
    this.#evidence.show(item);
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
    this.#image.classList.remove('is-ready');
    this.#image.alt = '';
    this.#image.src = getAddress(id, 'preview');
    getElement('detail-similar', HTMLAnchorElement).href = this.#callbacks.getLinkToSimilar(id);
    getElement('detail-file', HTMLAnchorElement).href = getAddress(id, 'file');
    getElement('detail-facts').replaceChildren();
    getElement('detail-problem').textContent = '';
    getElement('detail-exif').hidden = true;
    this.#zoom.reset();
    this.#evidence.close();
    this.#evidence.show(item);
    this.#marks.hide();
    this.#sources.show(id);
    this.#film.close();
    this.#text.clear();
    this.#type = '';
    this.#isSharp = false;
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
    if (!isDescribed || id !== this.#id) return;
    getElement('detail-gone').hidden = false;
    const thumbnail = getAddress(id, 'thumbnail');
    if (this.#image.getAttribute('src') !== thumbnail) this.#image.src = thumbnail;
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
      this.#type = image.type;
      this.#showFacts(image, item?.score);
      this.#marks.show(image);
      this.#film.show(image, this.#loading.signal);
      if (image.has_text) this.#text.load(image.id, this.#loading.signal);
      return true;
    } catch (error) {
      if (isAbort(error)) return false;
      getElement('detail-problem').textContent = formatProblem(toProblem(error), translator);
      return false;
    }
  }

  close() {
    this.#id = '';
    this.#stopSlides();
    if (document.fullscreenElement) document.exitFullscreen();
    this.#loading.abort();
    this.#evidence.close();
    this.#film.close();
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
    const onFollow = (/** @type {MouseEvent} */ event) => this.#follow(event);
    getElement('detail-facts').replaceChildren(...createFacts(image, score, onFollow));
    const exif = Object.entries(image.exif);
    const details = getElement('detail-exif', HTMLDetailsElement);
    details.hidden = !exif.length;
    details.open = false;
    getElement('detail-tags').replaceChildren(...exif.flatMap(([name, value]) => createFact(name, [String(value)])));
  }

  /** @param {MouseEvent} event */
  #follow(event) {
    this.#stopSlides();
    this.#callbacks.onFollow(event);
  }

  /** Load the pictures beside this one, so that they show at once. */
  #preload() {
    for (const item of [this.#neighbours.next, this.#neighbours.previous]) {
      if (item) createElement('img', { src: getAddress(item.id, 'preview') });
    }
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    const isTyping = event.target instanceof Element && event.target.matches('input, select, textarea');
    if (isTyping || isBrowserShortcut(event)) return;
    const action = getViewAction(event);
    if (action) {
      event.preventDefault();
      this.#act(action);
      return;
    }
    const stars = getStars(event);
    if (stars) this.#marks.rate(stars);
    const [right, down] = getDirection(event) ?? [0, 0];
    if (this.#zoom.isZoomed && (right || down)) {
      event.preventDefault();
      this.#zoom.pan(right, down);
    } else if (right) this.#callbacks.onStep(right);
  }

  /** @param {'in' | 'out' | 'whole' | 'full' | 'slides' | 'text'} action */
  #act(action) {
    if (action === 'in') this.#zoom.step(1);
    else if (action === 'out') this.#zoom.step(-1);
    else if (action === 'whole') this.#zoom.reset();
    else if (action === 'full') this.#toggleFullScreen();
    else if (action === 'text') this.#text.toggle();
    else if (this.#slideTimer) this.#stopSlides();
    else this.#startSlides();
    this.#sharpen();
  }

  /** Load the original once somebody looks closely, if browsers show its type. */
  async #sharpen() {
    const id = this.#id;
    if (this.#isSharp || this.#zoom.scale < SHARP || !SHOWN_BY_BROWSERS.includes(this.#type)) return;
    this.#isSharp = true;
    const original = createElement('img', { src: getAddress(id, 'file') });
    try {
      await original.decode();
      if (this.#id === id && this.#isSharp) this.#image.src = original.src;
    } catch {
      // the preview stays
    }
  }

  #toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#stage.requestFullscreen?.().catch(() => this.#callbacks.showToast(translate('full_screen_refused')));
  }

  #startSlides() {
    this.#slideTimer = setInterval(() => {
      if (this.#neighbours.next && !document.hidden) this.#callbacks.onStep(1);
      else if (!this.#neighbours.next) this.#stopSlides();
    }, SLIDE_MS);
    this.#showSlides();
  }

  #stopSlides() {
    clearInterval(this.#slideTimer);
    this.#slideTimer = 0;
    this.#showSlides();
  }

  #showSlides() {
    const button = getElement('detail-slides');
    const isRunning = this.#slideTimer !== 0;
    button.setAttribute('aria-pressed', String(isRunning));
    button.querySelector('use')?.setAttribute('href', isRunning ? '#i-pause' : '#i-play');
  }
}
