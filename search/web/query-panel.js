// What is searched for, beside the results: its pictures and words, one picture large with its crop,
// and what can be done with it.

import { getAddress } from './api.js';
import { copyText } from './clipboard.js';
import { CropBox } from './crop-box.js';
import { toPixels } from './crop-math.js';
import { getElement, moveFocus } from './dom.js';
import { translate, translator } from './i18n.js';
import { splitPath } from './paths.js';
import { formatProblem, isAbort, toProblem } from './problems.js';
import { isAddress, isWords, parseFile, parseId } from './route.js';
import { PictureAddresses } from './picture-addresses.js';
import { Restoration } from './restoration.js';
import { TermList } from './term-list.js';

/** @import { QueryPicture } from './alignment.js' */
/** @import { Api, Image, Source } from './api.js' */
/** @import { FileStore } from './file-store.js' */
/** @import { Problem } from './problems.js' */
/** @import { Box, QueryTerm } from './route.js' */
/** @import { VariantQuery } from './variants.js' */

/**
 * What the panel calls.
 * @typedef {object} Callbacks
 * @property {(terms: QueryTerm[]) => void} onChange The query was changed.
 * @property {(image: Image, what: string) => () => void} onKept The picture of the terms that are
 *   `what` is in the library. Returns what to call when it was taken out again.
 * @property {(query: VariantQuery) => void} onMakeVariants
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

export class QueryPanel {
  #api;
  #files;
  #callbacks;
  #list;
  #image = getElement('query-image', HTMLImageElement);
  #stage = getElement('stage');
  #keepButton = getElement('keep');
  #addresses;
  #restoration;
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

  /** Object URLs of files, by number. @type {Map<number, string>} */
  #fileUrls = new Map();

  /** Names of pictures of the library, by id. @type {Map<string, string>} */
  #names = new Map();

  /** Object URLs in use, by what they show. */
  #urls = { whole: '', part: '' };

  /** @type {readonly QueryTerm[]} */
  #terms = [];

  /** @type {ReadonlyMap<string, Problem>} */
  #problems = new Map();

  /** Index of the picture that is shown large, or -1. */
  #active = -1;

  /** What the term that is shown large is. */
  #what = '';

  /**
   * What can be kept: a file, or a URL.
   * @type {Blob | string | null}
   */
  keepable = null;

  /**
   * @param {Api} api
   * @param {FileStore} files
   * @param {Callbacks} callbacks
   */
  constructor(api, files, callbacks) {
    this.#api = api;
    this.#files = files;
    this.#callbacks = callbacks;
    this.#list = new TermList({
      onChange: (terms) => this.#callbacks.onChange(terms),
      onChoose: (place) => {
        this.#active = place;
        this.#showTerms();
      },
    });
    getElement('term-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#addWords();
    });
    this.#addresses = new PictureAddresses(api, files);
    this.#restoration = new Restoration({ api, files, addresses: this.#addresses }, {
      onChange: (term) => this.#replaceActive(term),
      showToast: callbacks.showToast,
    });
    this.#crop = new CropBox(getElement('crop-frame'), (box) => this.#changeCrop(box));
    this.#image.alt = translate('query_alt');
    this.#image.addEventListener('load', () => this.#stage.classList.add('is-ready'));
    this.#image.addEventListener('error', () => this.#handleError());
    getElement('crop-start').addEventListener('click', () => this.#toggleCrop());
    this.#keepButton.addEventListener('click', () => this.keep());
    getElement('query-variants').addEventListener('click', () => this.#makeVariants());
    getElement('copy').addEventListener('click', () => this.#copyLink());
  }

  /**
   * Show a query.
   * @param {readonly QueryTerm[]} terms
   */
  show(terms) {
    const before = this.#terms[this.#active]?.what;
    this.#terms = terms;
    this.#problems = new Map();
    const same = terms.findIndex(({ what }) => what === before);
    this.#active = same >= 0 ? same : terms.findIndex((term) => !isWords(term));
    this.#showTerms();
  }

  #showTerms() {
    const term = this.#terms[this.#active];
    const what = term?.what ?? '';
    const id = parseId(what);
    const number = parseFile(what);
    const file = number === null ? undefined : this.#files.get(number);
    const url = isAddress(what) ? what : null;
    const picture = file?.blob ?? url ?? id;
    this.#what = what;
    this.#crop.set(term?.crop ?? null);
    this.keepable = file?.blob ?? url;
    this.#source = file ? { blob: file.blob } : id ? { id } : url ? { url } : {};
    getElement('query-kind').textContent = translate(
      term?.from ? (term.from.mask ? 'query_painted' : 'query_restored') : file ? 'query_upload' : id ? 'query_id' : url ? 'query_url' : 'query_text',
    );
    this.#showList();
    getElement('query-note').hidden = !file;
    const isLocal = this.#terms.some((one) => parseFile(one.what) !== null);
    getElement('copy').hidden = isLocal;
    for (const part of ['stage', 'crop-start', 'query-variants', 'crop-note']) getElement(part).hidden = !picture;
    if (!this.keepable) moveFocus(this.#keepButton, getElement('query-variants'));
    this.#keepButton.hidden = !this.keepable;
    this.#showCropButtons(term?.crop ?? null);
    this.#restoration.show(picture ? term : null);
    if (picture !== this.#loaded) {
      this.#load(picture);
      if (this.#loaded !== null) this.#restoration.offer(this.#loading.signal);
    }
    for (const one of this.#terms) this.#fetchName(parseId(one.what));
  }

  /**
   * Say why terms are left out. The crop may be changing and stays as it is.
   * @param {ReadonlyMap<string, Problem>} problems
   */
  showProblems(problems) {
    this.#problems = problems;
    this.#showList();
  }

  #showList() {
    this.#list.show(this.#terms.map((one) => this.#describe(one)), this.#active);
    const term = this.#terms[this.#active];
    this.#showName(term ? this.#nameTerm(term) : this.#terms.map((one) => one.what).join(', '));
  }

  /**
   * Return a term as the list shows it.
   * @param {QueryTerm} term
   */
  #describe(term) {
    const problem = this.#problems.get(term.what);
    const text = problem ? translate('term_left_out', { why: formatProblem(problem, translator) }) : '';
    return { term, name: this.#nameTerm(term), address: this.#getThumbnail(term), problem: text };
  }

  /** @param {QueryTerm} term */
  #nameTerm({ what }) {
    const number = parseFile(what);
    if (number !== null) return this.#files.get(number)?.name || translate('query_upload');
    const id = parseId(what);
    return id === null ? what : (this.#names.get(id) ?? '');
  }

  /**
   * Return the address of a small picture of a term; empty if there is none.
   * @param {QueryTerm} term
   */
  #getThumbnail({ what }) {
    const id = parseId(what);
    if (id) return getAddress(id, 'thumbnail');
    const number = parseFile(what);
    const file = number === null ? undefined : this.#files.get(number);
    if (number === null || !file) return '';
    if (!this.#fileUrls.has(number)) this.#fileUrls.set(number, URL.createObjectURL(file.blob));
    return this.#fileUrls.get(number) ?? '';
  }

  #addWords() {
    const field = getElement('term-words', HTMLInputElement);
    const what = field.value.trim();
    field.value = '';
    if (what) this.#callbacks.onChange([...this.#terms, { what, weight: 1, crop: null }]);
  }

  /**
   * Take the picture that is loaded for another one with the same content. Null: load it again.
   * @param {string | null} id
   */
  adopt(id) {
    this.#loaded = id;
    if (id) this.#restoration.rename(`id:${id}`);
  }

  /**
   * Load a picture of the query, to be compared with. Null if it is not in the query any more or cannot be had.
   * @param {string} what
   * @returns {Promise<QueryPicture | null>}
   */
  async getPicture(what) {
    const pictures = this.#terms.filter((term) => !isWords(term));
    const own = pictures.length === 1 ? pictures[0] : undefined; // it may have another name by now
    const term = pictures.find((one) => one.what === what) ?? own;
    if (!term) return null;
    const { crop } = term;
    const shown = this.#image.getAttribute('src');
    if (term.what === this.#what && shown) return { address: shown, crop };
    try {
      return { address: await this.#addresses.find(term.what), crop };
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
      return null;
    }
  }

  /** Put the picture into the library. */
  async keep() {
    const { keepable } = this;
    const what = this.#what;
    if (this.#keepButton.ariaDisabled || !keepable) return;
    const label = getLabel(this.#keepButton);
    this.#keepButton.ariaDisabled = 'true';
    label.textContent = translate('keeping');
    try {
      const { image, isNew } = await this.#api.keepImage(keepable);
      const onUndone = this.#callbacks.onKept(image, what);
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

  /** @param {Blob | string | null} picture A file, a URL or an id. */
  #load(picture) {
    this.#loaded = picture;
    this.#isPreview = false;
    this.#loading.abort();
    this.#loading = new AbortController();
    this.#stage.classList.remove('is-ready');
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

  /**
   * Fetch the name of a picture of the library, once.
   * @param {string | null} id
   */
  async #fetchName(id) {
    if (id === null || this.#names.has(id)) return;
    this.#names.set(id, ''); // on its way
    try {
      const image = await this.#api.fetchImage(id);
      this.#names.set(id, splitPath(image.path).name);
      if (this.#terms.some(({ what }) => what === `id:${id}`)) this.#showList();
    } catch {
      this.#names.delete(id); // the search says what is wrong
    }
  }

  /** @param {Box | null} box */
  #changeCrop(box) {
    const term = this.#terms[this.#active];
    this.#showCropButtons(box);
    if (term) this.#replaceActive({ ...term, crop: box });
  }

  /** @param {QueryTerm} term What takes the place of the picture that is shown large. */
  #replaceActive(term) {
    this.#callbacks.onChange(this.#terms.map((one, i) => (i === this.#active ? term : one)));
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
    this.#callbacks.showToast(translate(isCopied ? 'copied' : 'copy_failed'));
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
