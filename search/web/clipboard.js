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
  const host = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body; // a dialog keeps the focus inside
  const field = createElement('textarea', { class: 'copied-text', readonly: '', 'aria-hidden': 'true', tabindex: -1 });
  field.value = text;
  host.append(field);
  field.select();
  const isCopied = document.execCommand('copy'); // without TLS there is no other way
  field.remove();
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  return isCopied;
}
