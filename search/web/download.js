// Saving what the server sends, without keeping it in memory.

import { createElement } from './dom.js';

/**
 * Let the browser save files, a table or a contact sheet of pictures: a form is answered by an attachment, which goes
 * to disk while it comes, and the page stays.
 * @param {'download' | 'csv' | 'sheet'} route Below `/api/v1/images`.
 * @param {readonly string[]} ids
 * @param {readonly (number | null)[]} [scores] Of an answer, for a table or a sheet.
 */
export function saveImages(route, ids, scores) {
  const fields = [createElement('input', { type: 'hidden', name: 'ids', value: ids.join(' ') })];
  if (scores) fields.push(createElement('input', { type: 'hidden', name: 'scores', value: JSON.stringify(scores) }));
  const form = createElement('form', { method: 'post', action: `/api/v1/images/${route}`, hidden: '' }, ...fields);
  document.body.append(form);
  form.submit();
  form.remove();
}
