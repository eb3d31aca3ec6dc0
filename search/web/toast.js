// A message in passing, for eyes and for screen readers.

import { createElement, getElement } from './dom.js';

const SHOWN_MS = 5000;
const SHOWN_WITH_ACTION_MS = 12000;

/** Create the function that shows a message, over the dialog that is on top. */
export function createToast() {
  const toast = getElement('toast');
  let timer = 0;
  const hide = () => toast.classList.remove('is-visible');
  /**
   * @param {string} text
   * @param {{ text: string, act: () => void }} [action] What a button beside the text does.
   */
  return (text, action) => {
    const top = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;
    if (toast.parentElement !== top) top.append(toast);
    toast.textContent = text;
    if (action) {
      const click = () => {
        hide();
        action.act();
      };
      toast.append(' ', createElement('button', { type: 'button', text: action.text, click }));
    }
    toast.classList.add('is-visible');
    clearTimeout(timer);
    timer = setTimeout(hide, action ? SHOWN_WITH_ACTION_MS : SHOWN_MS);
  };
}
