// The route of a saved search: its query, as the API has it, in the form of the page.

import { MAX_K, KINDS, START, shortenId } from './route.js';

/** @import { Box, QueryTerm, Route } from './route.js' */

/**
 * A term of a saved query. image: `id:ID`, a URL, or the place of a picture that was saved with it.
 * @typedef {{
 *   image?: string | number, text?: string, vector?: number[], weight: number, crop?: (number | string)[],
 * }} SavedTerm
 */

/**
 * The query of a saved search.
 * @typedef {{
 *   terms: SavedTerm[], k: number, min_score: number | null, where?: string[], sort?: string | null,
 *   kind?: string | null, collapse?: boolean, model?: string | null, offset?: number, hidden?: boolean,
 *   restore?: boolean, fuse?: Record<string, number>,
 * }} SavedQuery
 */

/**
 * What is known of a picture of a saved query. what: as a route names it. size: width and height in pixels, if known.
 * @typedef {{ what: string, size: [number, number] | null }} SavedPicture
 */

/** Parts of a query that the page has no form for. */
const OTHER_PARTS = Object.freeze(/** @type {const} */ (['model', 'fuse', 'offset', 'hidden', 'restore']));

/** @typedef {typeof OTHER_PARTS[number] | 'vector' | 'crop' | 'kind'} LeftOut */

/**
 * Build the route of a saved query.
 * @param {SavedQuery} query
 * @param {ReadonlyMap<string | number, SavedPicture>} pictures By what the query calls them.
 * @returns {{ route: Route, leftOut: LeftOut[] }} leftOut: parts of the query that the route lacks.
 */
export function buildRoute(query, pictures) {
  const leftOut = /** @type {Set<LeftOut>} */ (new Set(OTHER_PARTS.filter((part) => query[part])));
  /** @type {(term: SavedTerm) => QueryTerm[]} */
  const buildTerm = ({ image, text, weight, crop: written }) => {
    if (text !== undefined) return [{ what: weight === 1 ? quoteText(text) : text, weight, crop: null }];
    const picture = image === undefined ? undefined : pictures.get(image);
    if (!picture) {
      leftOut.add('vector');
      return [];
    }
    const crop = written ? readCrop(written, picture.size) : null;
    if (written && !crop) leftOut.add('crop');
    return [{ what: picture.what, weight, crop }];
  };
  const isOfTexts = query.terms.length > 0 && query.terms.every(({ text }) => text !== undefined);
  const line = isOfTexts ? [{ what: writeLine(query.terms), weight: 1, crop: null }] : null;
  const kind = query.kind ?? '';
  if (kind && !KINDS.includes(kind)) leftOut.add('kind');
  const route = {
    ...START,
    terms: line ?? query.terms.flatMap(buildTerm),
    where: query.where ?? [],
    k: Math.min(query.k, MAX_K),
    min: query.min_score,
    kind: KINDS.includes(kind) ? kind : '',
    isFolded: Boolean(query.collapse),
    sort: query.sort ?? '',
  };
  return { route, leftOut: [...leftOut] };
}

/**
 * Return how a route names a picture of the library.
 * @param {string} id
 */
export function nameStored(id) {
  return `id:${shortenId(id)}`;
}

/**
 * Write texts as one line: `2:beach - people`.
 * @param {readonly SavedTerm[]} terms
 */
function writeLine(terms) {
  const parts = terms.map(({ text = '', weight }) => {
    const size = Math.abs(weight) === 1 ? '' : `${Math.abs(weight)}:`;
    return `${weight < 0 ? '-' : '+'} ${size}${quoteText(text)}`;
  });
  return parts.join(' ').replace(/^\+ /, '');
}

/**
 * Return a text as a line has it: in quotes, if a line would read more than words in it.
 * @param {string} text
 */
function quoteText(text) {
  const isPlain = text.includes('"') || !/(^|\s)[+-]|[:=<>]|\/\//.test(text);
  return isPlain ? text : `"${text.replaceAll('\\', '\\\\')}"`;
}

/**
 * Return a crop in per cent, or null for pixels of a picture whose size is not known.
 * @param {readonly (number | string)[]} crop Pixels, or shares such as `25%`.
 * @param {readonly [number, number] | null} size
 * @returns {Box | null}
 */
function readCrop(crop, size) {
  const shares = crop.map((part, i) => {
    if (typeof part === 'string' && part.endsWith('%')) return Number(part.slice(0, -1));
    return size ? (100 * Number(part)) / size[i % 2] : NaN;
  });
  return shares.length === 4 && shares.every(Number.isFinite) ? /** @type {Box} */ (shares) : null;
}
