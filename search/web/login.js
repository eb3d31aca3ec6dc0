// The form that asks for the server's token.

import * as api from './api.js';
import { byId } from './node.js';
import { knows, say } from './words.js';

let waiting = null;

/** Resolves once somebody is logged in, however many ask at once. */
export function login() {
  waiting ??= new Promise((resolve) => {
    const dialog = byId('login');
    const field = byId('token');
    const wrong = byId('login-wrong');
    const submit = async (event) => {
      event.preventDefault();
      wrong.textContent = '';
      try {
        await api.login(field.value);
      } catch (error) {
        const key = error.status === 401 ? 'login_wrong' : `problem_${error.status}`;
        wrong.textContent = say(knows(key) ? key : 'problem');
        field.select();
        return;
      }
      field.value = '';
      byId('login-form').removeEventListener('submit', submit);
      dialog.removeEventListener('cancel', stay);
      dialog.close();
      waiting = null;
      resolve();
    };
    const stay = (event) => event.preventDefault();
    byId('login-form').addEventListener('submit', submit);
    dialog.addEventListener('cancel', stay);
    dialog.showModal();
    field.focus();
  });
  return waiting;
}
