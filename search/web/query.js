// The query that a route stands for.

import { isAddress, parseId } from './route.js';

/** @import { Route } from './route.js' */

/**
 * A term as the API takes it.
 * @typedef {{ text: string } | { image: string | number, crop?: string[] }} Term
 */

/**
 * Return whether a route is a query of words.
 * @param {Pick<Route, 'q' | 'upload'>} route
 */
export function isTextQuery({ q, upload }) {
  return upload === null && !parseId(q) && !isAddress(q);
}

/**
 * Build the terms of a query. An upload has a term for each of its pictures.
 * @param {Route} route
 * @param {number} [pictures] Number of uploaded pictures.
 * @returns {Term[]}
 */
export function buildTerms({ q, crop, upload }, pictures = 0) {
  if (isTextQuery({ q, upload })) return [{ text: q }];
  const part = crop ? { crop: crop.map((share) => `${share}%`) } : {};
  if (upload === null) return [{ image: q, ...part }];
  return Array.from({ length: pictures }, (_, image) => ({ image, ...part }));
}
