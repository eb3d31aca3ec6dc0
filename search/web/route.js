// What the page shows, as an address that can be shared and as an entry of the browser's history.

export const DEFAULT_K = 200;
export const MAX_K = 10_000;
const ID_DIGITS = 16;

/**
 * What the page shows.
 * @typedef {object} Route
 * @property {string} q `id:ID`, a URL, or words. Empty for the start page and for uploads.
 * @property {Box | null} crop Part of the picture.
 * @property {number} k Number of results, at most.
 * @property {string} see Id of the picture that is shown large, or empty.
 * @property {number | null} upload Number of pictures that are only in this tab.
 */

/**
 * Left, top, width and height, in per cent of a picture.
 * @typedef {[number, number, number, number]} Box
 */

/** @type {Readonly<Route>} */
export const START = Object.freeze({ q: '', crop: null, k: DEFAULT_K, see: '', upload: null });

/**
 * Shorten an id as addresses have it.
 * @param {string} id
 */
export function shortenId(id) {
  return id.slice(0, ID_DIGITS);
}

/**
 * Return whether a text is the address of something.
 * @param {string} text
 */
export function isAddress(text) {
  return /^(https?:\/\/|\/\/[\w[]|www\.\w)\S*$/i.test(text.trim());
}

/**
 * Return the id in `id:ID`, or null.
 * @param {string} q
 */
export function parseId(q) {
  return q.startsWith('id:') ? q.slice(3) : null;
}

/**
 * Return the route of a search by a picture of the library.
 * @param {string} id
 * @returns {Route}
 */
export function routeToPicture(id) {
  return { ...START, q: `id:${shortenId(id)}` };
}

/**
 * Parse the query part of an address. Wrong values count as not set.
 * @param {string} search
 * @returns {Route}
 */
export function parseRoute(search) {
  const parameters = new URLSearchParams(search);
  const k = Number(parameters.get('k'));
  const numbers = (parameters.get('crop') ?? '').split(',').map(Number);
  const isBox = numbers.length === 4 && numbers.every((value) => Number.isFinite(value) && value >= 0);
  return {
    q: (parameters.get('q') ?? '').trim(),
    crop: isBox && numbers[2] > 0 && numbers[3] > 0 ? /** @type {Box} */ (numbers) : null,
    k: Number.isInteger(k) && k >= 1 && k <= MAX_K ? k : DEFAULT_K,
    see: parameters.get('see') ?? '',
    upload: null,
  };
}

/**
 * Return the address of a route. Uploads have none but the start page's.
 * @param {Route} route
 */
export function formatRoute({ q, crop, k, see, upload }) {
  const parts = /** @type {string[]} */ ([]);
  /** @type {(name: string, value: string | number) => void} */
  const add = (name, value) => {
    parts.push(`${name}=${encodeURIComponent(value).replace(/%(3A|2F|2C)/g, decodeURIComponent)}`);
  };
  if (q) add('q', q);
  if (q && crop) add('crop', crop.join(','));
  if (q && k !== DEFAULT_K) add('k', k);
  if (see && upload === null) add('see', shortenId(see));
  return parts.length ? `/?${parts.join('&')}` : '/';
}

/**
 * Return a key that two routes share if they have the same results.
 * @param {Route} route
 */
export function getResultKey({ q, crop, k, upload }) {
  return JSON.stringify([q, crop, k, upload]);
}
