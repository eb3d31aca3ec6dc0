// Addresses of pictures of a query that this browser shows.

import { getAddress } from './api.js';
import { Problem } from './problems.js';
import { parseFile, parseId } from './route.js';

/** @import { Api, Source } from './api.js' */
/** @import { FileStore } from './file-store.js' */

export class PictureAddresses {
  #api;
  #files;

  /** Object URLs, by what they show. @type {Map<string, string>} */
  #urls = new Map();

  /**
   * @param {Api} api
   * @param {FileStore} files
   */
  constructor(api, files) {
    this.#api = api;
    this.#files = files;
  }

  /**
   * Return a picture as the API takes it. Raises Problem for a file that this browser has no more.
   * @param {string} what `id:ID`, `file:NUMBER` or a URL.
   * @returns {Promise<Source>}
   */
  async findSource(what) {
    const id = parseId(what);
    if (id) return { id };
    const number = parseFile(what);
    if (number === null) return { url: what };
    await this.#files.load([number]);
    const blob = this.#files.get(number)?.blob;
    if (!blob) throw new Problem(-1, 'picture_lost');
    return { blob };
  }

  /**
   * Return the address of a picture, upright. Raises Problem if it cannot be shown.
   * @param {string} what `id:ID`, `file:NUMBER` or a URL.
   */
  async find(what) {
    const { id, url, blob } = await this.findSource(what);
    if (id) return getAddress(id, 'preview');
    const known = this.#urls.get(what);
    if (known) return known;
    const isShown = blob && (await canShow(blob));
    const shown = isShown ? blob : await this.#api.fetchPreview(blob ?? url ?? '', new AbortController().signal);
    const address = URL.createObjectURL(shown);
    this.#urls.set(what, address);
    return address;
  }
}

/**
 * Return whether this browser shows a picture by itself.
 * @param {Blob} blob
 */
async function canShow(blob) {
  try {
    (await createImageBitmap(blob)).close();
    return true;
  } catch {
    return false;
  }
}
