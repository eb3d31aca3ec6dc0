// Pictures that were brought to the page, kept in this browser, so that they outlive a reload.

const DATABASE = 'lookalike';
const STORE = 'files';
const MAX_FILES = 64;

/**
 * A picture that was brought to the page.
 * @typedef {{ blob: Blob, name: string }} BroughtFile
 */

/**
 * Return the numbers that are more than the newest ones to be kept.
 * @param {readonly number[]} numbers
 * @param {number} most
 */
export function listOldest(numbers, most) {
  return [...numbers].sort((a, b) => a - b).slice(0, Math.max(0, numbers.length - most));
}

/**
 * Files by number. Where the browser keeps nothing, as in some private windows, they last as long
 * as the page.
 */
export class FileStore {
  /** @type {Map<number, BroughtFile>} */
  #files = new Map();

  /** @type {Promise<IDBDatabase | null> | null} */
  #database = null;

  /**
   * Keep files.
   * @param {readonly File[]} files
   * @param {number} [now] Milliseconds.
   * @returns {number[]} Numbers that no earlier file has.
   */
  add(files, now = Date.now()) {
    const first = Math.max(now, ...this.#files.keys()) + 1;
    const numbers = files.map((_, i) => first + i);
    for (const [i, blob] of files.entries()) this.#files.set(numbers[i], { blob, name: blob.name });
    this.#save(numbers);
    return numbers;
  }

  /**
   * Return a file that is loaded.
   * @param {number} number
   */
  get(number) {
    return this.#files.get(number);
  }

  /**
   * Load files that were kept before a reload. Returns whether all of them are there.
   * @param {readonly number[]} numbers
   */
  async load(numbers) {
    const missing = numbers.filter((number) => !this.#files.has(number));
    if (!missing.length) return true;
    const database = await this.#open();
    if (!database) return false;
    const store = database.transaction(STORE).objectStore(STORE);
    const files = await Promise.all(missing.map((number) => finish(store.get(number)))).catch(() => []);
    for (const [i, file] of files.entries()) if (file?.blob) this.#files.set(missing[i], file);
    return numbers.every((number) => this.#files.has(number));
  }

  /** @param {readonly number[]} numbers */
  async #save(numbers) {
    const database = await this.#open();
    if (!database) return;
    try {
      const store = database.transaction(STORE, 'readwrite').objectStore(STORE);
      for (const number of numbers) store.put(this.#files.get(number), number);
      const keys = /** @type {number[]} */ (await finish(store.getAllKeys()));
      for (const number of listOldest(keys, MAX_FILES)) store.delete(number);
    } catch {
      // the disk is full: the files last as long as the page
    }
  }

  #open() {
    this.#database ??= new Promise((resolve) => {
      if (!globalThis.indexedDB) return resolve(null);
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
      request.onblocked = () => resolve(null);
      return undefined;
    });
    return this.#database;
  }
}

/**
 * Return the result of a request.
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function finish(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * Return a file of its contents.
 * @param {string} data Base64.
 * @param {string} name
 * @param {string} type MIME type.
 */
export function decodeFile(data, name, type) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new File([bytes], name, { type });
}
