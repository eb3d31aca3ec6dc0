// Pictures that are given to the page: dropped, pasted, chosen, taken by a camera.

import { byId } from './node.js';
import { isAddress } from './route.js';

/** The picture that an address of this page's own server shows, or null. */
function ownId(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  if (url.origin !== location.origin) return null;
  const [, id] = url.pathname.match(/^\/api\/v1\/images\/([0-9a-f]{6,64})\//) ?? [];
  return id ?? url.searchParams.get('q')?.match(/^id:([0-9a-f]{6,64})$/)?.[1] ?? null;
}

/** A data: URL as a file. */
function unpacked(text) {
  const [, type, data] = text.match(/^data:(image\/[\w.+-]+);base64,(.*)$/s) ?? [];
  if (!data) return null;
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new File([bytes], type.replace('/', '.'), { type });
}

/** The pictures among files; the first file, where none seems to be one. */
function pictures(files) {
  const found = files.filter((one) => one.type.startsWith('image/') || /\.(hei[cf]|avif)$/i.test(one.name));
  return found.length ? found : files.slice(0, 1);
}

/** What a drop or a clipboard holds: {files}, {id}, {url}, {text}, {folder} or nothing of that. */
function held(transfer) {
  const id = transfer.getData('application/x-lookalike');
  if (id) return { id };
  const item = [...transfer.items].find((one) => one.kind === 'file');
  if (item?.webkitGetAsEntry?.()?.isDirectory) return { folder: true };
  const files = pictures([...transfer.files]);
  if (files.length) return { files };
  const page = new DOMParser().parseFromString(transfer.getData('text/html'), 'text/html');
  const listed = transfer.getData('text/uri-list').split(/\r?\n/).find((line) => line && line[0] !== '#');
  const plain = transfer.getData('text/plain').trim();
  for (const text of [page.querySelector('img')?.src, listed, plain]) {
    if (!text) continue;
    const own = ownId(text);
    if (own) return { id: own };
    if (isAddress(text)) return { url: text };
    const data = unpacked(text);
    if (data) return { files: [data] };
  }
  return plain ? { text: plain } : {};
}

/** take(given): called with what `held` returns. */
export function receive(take) {
  let depth = 0;
  const over = byId('drop-over');
  addEventListener('dragenter', (event) => {
    event.preventDefault();
    depth += 1;
    over.classList.add('shown');
  });
  addEventListener('dragleave', () => {
    depth = Math.max(0, depth - 1);
    over.classList.toggle('shown', depth > 0);
  });
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('dragend', () => over.classList.remove('shown'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    depth = 0;
    over.classList.remove('shown');
    take(held(event.dataTransfer));
  });
  addEventListener('paste', (event) => {
    const field = event.target.closest?.('input');
    if (field && field.id !== 'words') return;
    const given = held(event.clipboardData);
    if (field && given.text) return; // words are edited before they are searched for
    event.preventDefault();
    take(given);
  });
  for (const name of ['file', 'shot']) {
    const input = byId(name);
    input.addEventListener('change', () => {
      if (input.files.length) take({ files: pictures([...input.files]) });
      input.value = '';
    });
  }
  for (const button of document.querySelectorAll('[data-open]')) {
    button.addEventListener('click', () => byId(button.dataset.open).click());
  }
}
