// Pictures that are brought to the page: dropped, pasted, chosen, or taken by a camera.

import { getElement } from './dom.js';
import { decodeFile } from './file-store.js';
import { DRAG_TYPE } from './grid.js';
import { parseFileAddress } from './paths.js';
import { isAddress } from './route.js';

/**
 * What was brought: files, a picture of the library, a URL, a text, or a folder. At most one is set.
 * isAdded: to the present query, instead of beginning another one. folder: its path, where the browser tells it.
 * @typedef {{ files?: File[], id?: string, url?: string, text?: string, isFolder?: boolean,
 *   folder?: string, isAdded?: boolean }} Content
 */

/**
 * Return the id of the picture that an address of this page's own server shows, or null.
 * @param {string} text
 */
function parseOwnAddress(text) {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  if (url.origin !== location.origin) return null;
  const [, id] = url.pathname.match(/^\/api\/v1\/images\/([0-9a-f]{6,64})\//) ?? [];
  return id ?? url.searchParams.get('q')?.match(/^id:([0-9a-f]{6,64})$/)?.[1] ?? null;
}

/**
 * Return the file in a `data:` URL, or null.
 * @param {string} text
 */
function parseDataUrl(text) {
  const [, type, data] = text.match(/^data:(image\/[\w.+-]+);base64,(.*)$/s) ?? [];
  return data ? decodeFile(data, type.replace('/', '.'), type) : null;
}

/**
 * Return the pictures among files, or the first file if none seems to be one.
 * @param {File[]} files
 */
function selectPictures(files) {
  const pictures = files.filter(({ type, name }) => type.startsWith('image/') || /\.(hei[cf]|avif)$/i.test(name));
  return pictures.length ? pictures : files.slice(0, 1);
}

/**
 * Read what a drop or a clipboard holds.
 * @param {DataTransfer} transfer
 * @returns {Content}
 */
function readTransfer(transfer) {
  const dragged = transfer.getData(DRAG_TYPE);
  if (dragged) return { id: dragged };
  const item = [...transfer.items].find(({ kind }) => kind === 'file');
  if (item?.webkitGetAsEntry?.()?.isDirectory) {
    const folder = parseFileAddress(transfer.getData('text/uri-list'));
    return folder ? { isFolder: true, folder } : { isFolder: true };
  }
  const files = selectPictures([...transfer.files]);
  if (files.length) return { files };
  const page = new DOMParser().parseFromString(transfer.getData('text/html'), 'text/html');
  const listed = transfer.getData('text/uri-list').split(/\r?\n/).find((line) => line && line[0] !== '#');
  const plain = transfer.getData('text/plain').trim();
  for (const text of [page.querySelector('img')?.src, listed, plain]) {
    if (!text) continue;
    const id = parseOwnAddress(text);
    if (id) return { id };
    if (isAddress(text)) return { url: text };
    const file = parseDataUrl(text);
    if (file) return { files: [file] };
  }
  return plain ? { text: plain } : {};
}

/**
 * Call a function with everything that is brought to the page.
 * @param {(content: Content) => void} onReceive
 */
export function receiveUploads(onReceive) {
  listenForDrops(onReceive);
  addEventListener('paste', (event) => {
    const field = event.target instanceof Element ? event.target.closest('input') : null;
    if (!event.clipboardData || (field && field.id !== 'words')) return;
    const content = readTransfer(event.clipboardData);
    if (field && content.text) return; // words are edited before they are searched for
    event.preventDefault();
    onReceive(content);
  });
  for (const id of ['file', 'photo', 'added-file']) {
    const input = getElement(id, HTMLInputElement);
    input.addEventListener('change', () => {
      const files = [...(input.files ?? [])];
      if (files.length) onReceive({ files: selectPictures(files), isAdded: id === 'added-file' });
      input.value = '';
    });
  }
  for (const button of document.querySelectorAll('[data-open]')) {
    button.addEventListener('click', () => getElement(button.getAttribute('data-open') ?? '').click());
  }
}

/** @param {(content: Content) => void} onReceive */
function listenForDrops(onReceive) {
  const overlay = getElement('drop-overlay');
  let depth = 0; // of the elements that the pointer has entered
  addEventListener('dragenter', (event) => {
    event.preventDefault();
    depth += 1;
    overlay.classList.add('is-visible');
  });
  addEventListener('dragleave', () => {
    depth = Math.max(0, depth - 1);
    overlay.classList.toggle('is-visible', depth > 0);
  });
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('dragend', () => overlay.classList.remove('is-visible'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    depth = 0;
    overlay.classList.remove('is-visible');
    const isAdded = event.target instanceof Element && event.target.closest('#query') !== null;
    if (event.dataTransfer) onReceive({ ...readTransfer(event.dataTransfer), isAdded });
  });
}
