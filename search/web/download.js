// Saving a file that the page has.

import { createElement } from './dom.js';

/**
 * Save a file under a name.
 * @param {Blob} blob
 * @param {string} name
 */
export function saveFile(blob, name) {
  const href = URL.createObjectURL(blob);
  const link = createElement('a', { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser may still be writing it
}
