// Links to pages of others.

import { createElement, createPath } from './dom.js';

/** @param {string} text */
export function isWebAddress(text) {
  return /^https?:\/\//i.test(text);
}

/**
 * Create a link to a page of others. It is told neither who opens it nor from where.
 * @param {string} url
 * @param {string} [text]
 * @param {string} [look]
 */
export function createLinkOut(url, text = url, look = undefined) {
  if (!isWebAddress(url)) return createElement('span', { text });
  const options = { href: url, target: '_blank', rel: 'noopener noreferrer', class: look };
  return createElement('a', options, ...(text === url ? createPath(url) : [text]));
}
