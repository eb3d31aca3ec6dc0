// Saving what the server sends, without keeping it in memory.

import { createElement } from './dom.js';

/**
 * Let the browser save files or a table of pictures: a form is answered by an attachment, which goes to
 * disk while it comes, and the page stays.
 * @param {'download' | 'csv'} route Below `/api/v1/images`.
 * @param {readonly string[]} ids
 */
export function saveImages(route, ids) {
  const field = createElement('input', { type: 'hidden', name: 'ids', value: ids.join(' ') });
  const form = createElement('form', { method: 'post', action: `/api/v1/images/${route}`, hidden: '' }, field);
  document.body.append(form);
  form.submit();
  form.remove();
}
