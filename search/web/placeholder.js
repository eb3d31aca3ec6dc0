// What is shown in place of pictures: an empty library, a problem, a hint.

import { createElement, createIcon, getElement, moveFocus } from './dom.js';
import { translate, translator } from './i18n.js';
import { describeProblem, isTemporary } from './problems.js';

/** @import { Problem } from './problems.js' */
/** @typedef {{ text: string, act: () => void }} Action */

export class Placeholder {
  #element = getElement('state');

  /**
   * Show a message.
   * @param {string} icon
   * @param {string} title
   * @param {string} [hint]
   * @param {Action[]} [actions] Its buttons.
   */
  show(icon, title, hint = '', actions = []) {
    const buttons = actions.map(({ text, act }, i) =>
      createElement('button', { type: 'button', class: i ? '' : 'button-primary', text, click: act }),
    );
    const parts = /** @type {HTMLElement[]} */ ([createElement('h2', { text: title })]);
    if (hint) parts.push(createElement('p', { text: hint }));
    if (buttons.length) parts.push(createElement('div', { class: 'buttons' }, ...buttons));
    this.#element.replaceChildren(createIcon(icon), ...parts);
    this.#element.hidden = false;
  }

  hide() {
    moveFocus(this.#element, getElement('results'));
    this.#element.hidden = true;
    this.#element.replaceChildren();
  }

  /**
   * Show what went wrong.
   * @param {Problem} problem
   * @param {() => void} retry
   */
  showProblem(problem, retry) {
    const { title, hint } = describeProblem(problem, translator);
    this.show('warning', title, hint, isTemporary(problem) ? [{ text: translate('retry'), act: retry }] : []);
  }

  /**
   * Show that the library is empty.
   * @param {Action[]} actions What fills it.
   */
  showEmptyLibrary(actions) {
    this.show('folder', translate('empty'), translate('empty_hint'), actions);
  }
}
