// The bookmarklet: it searches for the largest picture of any page.

import { getElement } from './dom.js';
import { translate } from './i18n.js';

/** Runs in another page, so that it uses nothing of this one. @param {string} place @param {string} none */
function openLargest(place, none) {
  const images = [...document.images].filter(({ currentSrc }) => /^https?:/.test(currentSrc));
  /** @param {HTMLImageElement} image */
  const measure = ({ naturalWidth, naturalHeight }) => naturalWidth * naturalHeight;
  const [largest] = images.sort((one, other) => measure(other) - measure(one));
  if (largest) open(place + encodeURIComponent(largest.currentSrc));
  else alert(none);
}

/**
 * Write the address of the bookmarklet.
 * @param {string} origin Of the server.
 * @param {string} none What it says on a page without a picture.
 */
export function writeBookmarklet(origin, none) {
  const code = `(${openLargest})(${JSON.stringify(`${origin}/?q=`)},${JSON.stringify(none)})`;
  return `javascript:${encodeURIComponent(code.replace(/\/\*.*?\*\/|\s*\n\s*/gs, ' '))}`;
}

/** Show it in the help, to be dragged to the bar of bookmarks. */
export function showBookmarklet() {
  const link = getElement('bookmarklet', HTMLAnchorElement);
  link.href = writeBookmarklet(location.origin, translate('bookmarklet_none'));
  link.addEventListener('click', (event) => event.preventDefault());
}
