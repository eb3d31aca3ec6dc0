// The form that asks for the server's token.

import { getElement } from './dom.js';
import { translator } from './i18n.js';
import { describeProblem, toProblem } from './problems.js';

/** @import { Api } from './api.js' */

export class LoginDialog {
  #onLogin;
  #dialog = getElement('login', HTMLDialogElement);
  #field = getElement('token', HTMLInputElement);

  /** Whether the page was opened by a link that logs nobody in any more. */
  #isLinkUsed = new URLSearchParams(location.search).has('login');

  /** @type {Promise<void> | null} */
  #pending = null;

  /** @param {() => void} onLogin Called once for each login. */
  constructor(onLogin) {
    this.#onLogin = onLogin;
  }

  /**
   * Ask for the token. Resolves once somebody is logged in, for all who ask at once.
   * @param {Api} api
   */
  open(api) {
    this.#pending ??= this.#ask(api).then(() => {
      this.#pending = null;
      this.#onLogin();
    });
    return this.#pending;
  }

  /** @param {Api} api */
  #ask(api) {
    const form = getElement('login-form');
    const wrong = getElement('login-problem');
    getElement('login-hint').textContent = translator.translate(this.#isLinkUsed ? 'login_link_used' : 'login_hint');
    return new Promise((/** @type {(value: void) => void} */ resolve) => {
      /** @param {Event} event */
      const submit = async (event) => {
        event.preventDefault();
        wrong.textContent = '';
        try {
          await api.logIn(this.#field.value);
        } catch (error) {
          wrong.textContent = describeProblem(toProblem(error), translator).title;
          this.#field.select();
          return;
        }
        this.#field.value = '';
        form.removeEventListener('submit', submit);
        this.#dialog.removeEventListener('close', reopen);
        this.#dialog.close();
        resolve();
      };
      const reopen = () => this.#dialog.showModal(); // nothing works without the token
      form.addEventListener('submit', submit);
      this.#dialog.addEventListener('close', reopen);
      this.#dialog.showModal();
      this.#field.focus();
    });
  }
}
