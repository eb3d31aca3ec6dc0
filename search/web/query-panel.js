// What is searched for, beside the results: the picture with its crop, and what can be done with it.

import { getAddress } from './api.js';
import { copyText } from './clipboard.js';
import { CropBox } from './crop-box.js';
import { toPixels } from './crop-math.js';
import { createElement, getElement, moveFocus } from './dom.js';
import { translate, translator } from './i18n.js';
import { splitPath } from './paths.js';
import { formatProblem, isAbort, toProblem } from './problems.js';
import { isAddress, parseId } from './route.js';

/** @import { Api, Image, Source } from './api.js' */
/** @import { Box, Route } from './route.js' */
/** @import { Upload } from './store.js' */
/** @import { VariantQuery } from './variants.js' */

/**
 * What the panel calls.
 * @typedef {object} Callbacks
 * @property {(box: Box | null) => void} onCrop A box was drawn, or removed.
 * @property {(image: Image, isShown: boolean) => () => void} onKept The picture is in the library;
 *   whether it is still shown. Returns what to call when it was taken out again.
 * @property {(query: VariantQuery) => void} onMakeVariants
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

export class QueryPanel {
  #api;
  #callbacks;
  #image = getElement('query-image', HTMLImageElement);
  #stage = getElement('stage');
  #keepButton = getElement('keep');
  #crop;
  #loading = new AbortController();

  /** Whether the server was asked for a picture that this browser shows. */
  #isPreview = false;

  /**
   * The file, URL or id of the picture that is loaded.
   * @type {Blob | string | null}
   */
  #loaded = null;

  /**
   * What variants are made of.
   * @type {Source}
   */
  #source = {};

  /**
   * Object URLs in use, by what they show.
   * @type {{ whole: string, part: string, several: string[] }}
   */
  #urls = { whole: '', part: '', several: [] };

  /**
   * What can be kept: a file, or a URL.
   * @type {Blob | string | null}
   */
  keepable = null;

  /**
   * @param {Api} api
   * @param {Callbacks} callbacks
   */
  constructor(api, callbacks) {
    this.#api = api;
    this.#callbacks = callbacks;
    this.#crop = new CropBox(getElement('crop-frame'), (box) => this.#changeCrop(box));
    this.#image.alt = translate('query_alt');
    this.#image.addEventListener('load', () => this.#stage.classList.add('ready'));
    this.#image.addEventListener('error', () => this.#handleError());
    getElement('crop-start').addEventListener('click', () => this.#toggleCrop());
    this.#keepButton.addEventListener('click', () => this.keep());
    getElement('query-variants').addEventListener('click', () => this.#makeVariants());
    getElement('copy').addEventListener('click', () => this.#copyLink());
  }

  /**
   * Show a route's query.
   * @param {Route} route
   * @param {Upload} [upload]
   */
  show(route, upload) {
    const id = parseId(route.q);
    const url = isAddress(route.q) ? route.q : null;
    const isSeveral = upload !== undefined && upload.blobs.length > 1;
    const blob = isSeveral ? undefined : upload?.blobs[0];
    const picture = blob ?? url ?? id;
    this.#crop.set(route.crop);
    this.keepable = blob ?? url;
    this.#source = blob ? { blob } : id ? { id } : url ? { url } : {};
    this.#showSeveral(isSeveral ? upload.blobs : []);
    const kind = upload ? 'query_upload' : id ? 'query_id' : url ? 'query_url' : 'query_text';
    getElement('query-kind').textContent = translate(isSeveral ? 'query_several' : kind);
    this.#showName(upload ? upload.name : (url ?? (id ? '' : route.q)));
    getElement('query-note').hidden = !blob;
    getElement('copy').hidden = Boolean(upload);
    for (const part of ['stage', 'crop-start', 'query-variants', 'crop-note']) getElement(part).hidden = !picture;
    if (!this.keepable) moveFocus(this.#keepButton, getElement('query-variants'));
    this.#keepButton.hidden = !this.keepable;
    this.#showCropButtons(route.crop);
    if (picture !== this.#loaded) this.#load(picture);
    if (id) this.#fetchName(id);
  }

  /**
   * Take the picture that is loaded for another one with the same content. Null: load it again.
   * @param {string | null} id
   */
  adopt(id) {
    this.#loaded = id;
  }

  /** Put the picture into the library. */
  async keep() {
    const { keepable } = this;
    if (this.#keepButton.ariaDisabled || !keepable) return;
    const label = getLabel(this.#keepButton);
    this.#keepButton.ariaDisabled = 'true';
    label.textContent = translate('keeping');
    try {
      const { image, isNew } = await this.#api.keepImage(keepable);
      const onUndone = this.#callbacks.onKept(image, this.keepable === keepable);
      const undo = { text: translate('undo'), act: () => this.#undo(image.id, onUndone) };
      this.#callbacks.showToast(translate(isNew ? 'kept' : 'had_already'), isNew ? undo : undefined);
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    } finally {
      this.#keepButton.ariaDisabled = null;
      label.textContent = translate('keep');
    }
  }

  /**
   * Take a picture out of the library that was put into it.
   * @param {string} id
   * @param {() => void} onUndone
   */
  async #undo(id, onUndone) {
    try {
      await this.#api.deleteImage(id);
      this.#callbacks.showToast(translate('undone'));
      onUndone();
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    }
  }

  /**
   * Show pictures that add up, small, in place of one large.
   * @param {readonly File[]} blobs
   */
  #showSeveral(blobs) {
    for (const url of this.#urls.several) URL.revokeObjectURL(url);
    this.#urls.several = blobs.map((blob) => URL.createObjectURL(blob));
    const images = this.#urls.several.map((src, i) => createElement('img', { src, alt: blobs[i].name }));
    const list = getElement('several');
    list.replaceChildren(...images.map((image) => createElement('li', {}, image)));
    list.hidden = !blobs.length;
  }

  /** @param {Blob | string | null} picture A file, a URL or an id. */
  #load(picture) {
    this.#loaded = picture;
    this.#isPreview = false;
    this.#loading.abort();
    this.#loading = new AbortController();
    this.#stage.classList.remove('ready');
    this.#image.removeAttribute('src');
    if (picture instanceof Blob) this.#showBlob(picture);
    else if (picture && isAddress(picture)) this.#fetchPreview(picture);
    else if (picture) this.#image.src = getAddress(picture, 'preview');
  }

  /** @param {Blob} blob */
  #showBlob(blob) {
    if (this.#urls.whole) URL.revokeObjectURL(this.#urls.whole);
    this.#urls.whole = URL.createObjectURL(blob);
    this.#image.src = this.#urls.whole;
    this.#stage.hidden = false;
  }

  /**
   * Ask the server for a picture that this browser shows.
   * @param {Blob | string} picture A file, or a URL.
   */
  async #fetchPreview(picture) {
    this.#isPreview = true;
    try {
      const blob = await this.#api.fetchPreview(picture, this.#loading.signal);
      if (this.#loaded === picture) this.#showBlob(blob);
    } catch (error) {
      if (!isAbort(error) && this.#loaded === picture) this.#hideImage();
    }
  }

  #handleError() {
    if (this.#loaded instanceof Blob && !this.#isPreview) this.#fetchPreview(this.#loaded);
    else this.#hideImage();
  }

  /** The search says what is wrong. The next try loads the picture again. */
  #hideImage() {
    this.#stage.hidden = true;
    this.#loaded = null;
  }

  /** @param {string} name */
  #showName(name) {
    getElement('query-name').textContent = name;
    document.title = name ? `${name} – ${translate('title')}` : translate('title');
  }

  /** @param {string} id */
  async #fetchName(id) {
    try {
      const image = await this.#api.fetchImage(id);
      if (this.#source.id === id) this.#showName(splitPath(image.path).name);
    } catch {
      // the search says what is wrong
    }
  }

  /** @param {Box | null} box */
  #changeCrop(box) {
    this.#showCropButtons(box);
    this.#callbacks.onCrop(box);
  }

  /** @param {Box | null} box */
  #showCropButtons(box) {
    getLabel(getElement('crop-start')).textContent = translate(box ? 'crop_clear' : 'crop');
    getElement('crop-note').hidden = Boolean(box) || this.#stage.hidden;
  }

  #toggleCrop() {
    if (!this.#crop.value) {
      this.#crop.begin();
      return;
    }
    this.#crop.set(null);
    this.#changeCrop(null);
  }

  async #makeVariants() {
    const name = getElement('query-name').textContent ?? '';
    const { value } = this.#crop;
    if (!value) {
      this.#callbacks.onMakeVariants({ source: this.#source, address: this.#image.src, name });
      return;
    }
    const blob = await cropImage(this.#image, value);
    if (this.#urls.part) URL.revokeObjectURL(this.#urls.part);
    this.#urls.part = URL.createObjectURL(blob);
    this.#callbacks.onMakeVariants({ source: { blob }, address: this.#urls.part, name });
  }

  async #copyLink() {
    const isCopied = await copyText(location.href);
    this.#callbacks.showToast(translate(isCopied ? 'copied' : 'not_copied'));
  }
}

/**
 * Return the element with the text of a button that also has an icon.
 * @param {HTMLElement} button
 */
function getLabel(button) {
  return button.lastElementChild ?? button;
}

/**
 * Return a part of an image as a file.
 * @param {HTMLImageElement} image
 * @param {Box} box
 */
function cropImage(image, box) {
  const [x, y, width, height] = toPixels(box, image.naturalWidth, image.naturalHeight);
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d')?.drawImage(image, -x, -y);
  return canvas.convertToBlob();
}
