// A message in passing, for eyes and for screen readers.

import { getElement } from './dom.js';

const SHOWN_MS = 5000;

/** Create the function that shows a message, over the dialog that is on top. */
export function createToast() {
  const toast = getElement('toast');
  let timer = 0;
  /** @param {string} text */
  return (text) => {
    const top = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;
    if (toast.parentElement !== top) top.append(toast);
    toast.textContent = text;
    toast.classList.add('shown');
    clearTimeout(timer);
    timer = setTimeout(() => toast.classList.remove('shown'), SHOWN_MS);
  };
}
