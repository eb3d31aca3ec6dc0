// The query that a route stands for, as the API takes it.

import { isWords, parseFile } from './route.js';

/** @import { QueryTerm, Route } from './route.js' */

/**
 * A term as the API takes it.
 * @typedef {{ text: string, weight?: number }
 *   | { image: string | number, weight?: number, crop?: string[] }} Term
 */

/**
 * A query as the API takes it. line: terms and conditions as they are typed.
 * @typedef {{ line?: string, terms?: Term[], k: number, where?: readonly string[], min_score?: number, kind?: string,
 *   collapse?: boolean, sort?: string, verify?: boolean }} Query
 */

/**
 * Return whether a route is a query of words alone.
 * @param {Pick<Route, 'terms'>} route
 */
export function isTextQuery({ terms }) {
  return terms.length > 0 && terms.every(isWords);
}

/**
 * Return whether a route searches for a picture, so that hits can be compared with it.
 * @param {Pick<Route, 'terms'>} route
 */
export function isPictureQuery({ terms }) {
  return terms.some((term) => term.weight > 0 && !isWords(term));
}

/**
 * Return the numbers of the files that a route has, in the order in which they are sent.
 * @param {Pick<Route, 'terms'>} route
 */
export function listFiles({ terms }) {
  return [...new Set(terms.map(({ what }) => parseFile(what)).filter((number) => number !== null))];
}

/**
 * Build the query of a route. Words are a line of terms and conditions. A file is named by its place among those that
 * are sent.
 * @param {Route} route
 * @returns {Query}
 */
export function buildQuery(route) {
  const files = listFiles(route);
  /** @type {(term: QueryTerm) => Term} */
  const buildTerm = (term) => {
    const weight = term.weight === 1 ? {} : { weight: term.weight };
    if (isWords(term)) return { text: term.what, ...weight };
    const file = parseFile(term.what);
    return { image: file === null ? term.what : files.indexOf(file), ...weight, ...writeCrop(term) };
  };
  const { k, where, min, kind, isFolded, sort } = route;
  /** @type {(term: QueryTerm) => boolean} */
  const isLine = (term) => isWords(term) && term.weight === 1;
  const line = route.terms.filter(isLine).map(({ what }) => what).join(' + ');
  const terms = route.terms.filter((term) => !isLine(term)).map(buildTerm);
  return {
    ...(line ? { line } : {}),
    ...(terms.length || !line ? { terms } : {}),
    k,
    ...(where.length ? { where } : {}),
    ...(min === null ? {} : { min_score: min }),
    ...(kind && isPictureQuery(route) ? { kind } : {}),
    ...(isFolded ? { collapse: true } : {}),
    ...(sort && sort !== 'score' ? { sort } : {}),
  };
}

/**
 * Return the crop of a picture as the API takes it.
 * @param {QueryTerm} term
 * @returns {{ crop?: string[] }}
 */
export function writeCrop({ crop }) {
  return crop ? { crop: crop.map((share) => `${share}%`) } : {};
}
