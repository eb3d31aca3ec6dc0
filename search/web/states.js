// What stands where pictures would be: an empty library, an error, a hint.

import { byId, icon, leave, node } from './node.js';
import { knows, say } from './words.js';

const RETRY = new Set([0, 408, 429, 500, 503]);

/** Say something there. actions: {text, act} of its buttons. */
export function state(symbol, title, hint = '', actions = []) {
  const buttons = actions.map(({ text, act }) =>
    node('button', { type: 'button', class: text === actions[0].text ? 'main' : '', text, click: act }),
  );
  const said = [node('h2', { text: title })];
  if (hint) said.push(node('p', { text: hint }));
  if (buttons.length) said.push(node('div', { class: 'buttons' }, ...buttons));
  byId('state').replaceChildren(icon(symbol), ...said);
  byId('state').hidden = false;
}

/** Say nothing there. */
export function clear() {
  leave(byId('state'), byId('found'));
  byId('state').hidden = true;
  byId('state').replaceChildren();
}

/** Say what went wrong; again: what to do for another try. */
export function complain(error, again) {
  const status = error.status ?? -1;
  const title = say(knows(`problem_${status}`) ? `problem_${status}` : 'problem');
  const hint = status === 0 ? say('problem_0_hint') : (sentence(error.detail ?? String(error)));
  state('warning', title, hint, RETRY.has(status) ? [{ text: say('again'), act: again }] : []);
}

/** What the server says, as a sentence. */
export function sentence(detail) {
  return detail.replace(/^[a-z](?=[a-z]* )/, (letter) => letter.toUpperCase());
}

/** Say that the library is empty; actions: what fills it. */
export function emptiness(actions) {
  state('folder', say('empty'), say('empty_hint'), actions);
}
