// The form that asks for the server's token.

import * as api from './api.js';
import { byId } from './node.js';
import { knows, say } from './words.js';

let waiting = null;

/** Resolves once somebody is logged in, however many ask at once. after(): called then, once. */
export function login(after) {
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
      dialog.removeEventListener('close', stay);
      dialog.close();
      waiting = null;
      after();
      resolve();
    };
    const stay = () => dialog.showModal(); // Escape leads nowhere: nothing works without a token
    byId('login-form').addEventListener('submit', submit);
    dialog.addEventListener('close', stay);
    dialog.showModal();
    field.focus();
  });
  return waiting;
}
