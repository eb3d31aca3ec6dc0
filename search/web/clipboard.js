// Copying texts, also over plain HTTP, where browsers have no clipboard API.

import { createElement } from './dom.js';

/**
 * Copy a text. Returns whether that worked.
 * @param {string} text
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelection(text);
  }
}

/** @param {string} text */
function copySelection(text) {
  const before = document.activeElement;
  const field = createElement('textarea', { class: 'copied', 'aria-hidden': 'true', tabindex: -1 });
  field.value = text;
  const top = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body; // a dialog keeps the focus inside
  top.append(field);
  field.select();
  const isCopied = document.execCommand('copy');
  field.remove();
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  return isCopied;
}
