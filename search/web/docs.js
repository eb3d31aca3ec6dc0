// The forms of /docs: each sends a request to its route, as this browser is logged in.

import { createElement } from './dom.js';

const MAX_SHOWN = 20_000; // characters of an answer

for (const form of document.querySelectorAll('form[data-path]')) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    send(/** @type {HTMLFormElement} */ (form));
  });
}

/** @param {HTMLFormElement} form */
async function send(form) {
  const place = form.parentElement?.querySelector('.answer');
  try {
    const response = await fetch(createAddress(form), createRequest(form));
    place?.replaceChildren(...(await describeAnswer(response)));
  } catch (error) {
    place?.replaceChildren(createElement('p', { text: String(error) }));
  }
}

/** @param {HTMLFormElement} form */
function createAddress(form) {
  let path = form.dataset.path ?? '';
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll('input[data-in]')) {
    const { name, value, dataset } = /** @type {HTMLInputElement} */ (field);
    if (dataset.in === 'path') path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (dataset.in === 'query' && value) query.append(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}

/**
 * Files go into a form of their own; without one, the JSON goes alone.
 * @param {HTMLFormElement} form
 * @returns {RequestInit}
 */
function createRequest(form) {
  const method = form.dataset.method ?? 'GET';
  const json = form.querySelector('textarea');
  const chosen = /** @type {HTMLInputElement | null} */ (form.querySelector('input[type=file]'));
  const files = [...(chosen?.files ?? [])];
  if (files.length) {
    const body = new FormData();
    for (const file of files) body.append('image', file);
    return { method, body };
  }
  return json ? { method, body: json.value, headers: { 'Content-Type': 'application/json' } } : { method };
}

/** @param {Response} response */
async function describeAnswer(response) {
  const status = createElement('p', { text: `${response.status} ${response.statusText}` });
  const media = response.headers.get('content-type') ?? '';
  if (media.startsWith('image/')) {
    const src = URL.createObjectURL(await response.blob());
    return [status, createElement('img', { src, alt: media })];
  }
  const text = await response.text();
  const shown = media.includes('json') ? JSON.stringify(JSON.parse(text), null, 1) : text;
  return [status, createElement('pre', { tabindex: 0, text: shown.slice(0, MAX_SHOWN) })];
}
