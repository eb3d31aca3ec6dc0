// What another app shared with the page, and the page's files for when the server does not answer.

import { formatRoute, START } from './route.js';

/** @import { Api } from './api.js' */
/** @import { Content } from './upload.js' */

const WORKER = '/web/service-worker.js';

/**
 * Search by the picture that another app shared, if the address names one.
 * @param {Api} api
 * @param {(content: Content) => void} onReceive
 */
export async function receiveShared(api, onReceive) {
  const id = new URLSearchParams(location.search).get('shared');
  if (id === null) return;
  history.replaceState(null, '', formatRoute(START)); // the picture is there once
  try {
    const blob = await api.fetchShared(id);
    const name = blob.type.replace('/', '.') || 'picture';
    onReceive({ files: [new File([blob], name, { type: blob.type })] });
  } catch {
    onReceive({}); // which says how to bring a picture
  }
}

/** Keep the page's own files, where browsers allow it: over TLS, and on this machine. */
export async function prepareOffline() {
  if (!isSecureContext || !('serviceWorker' in navigator)) return;
  try {
    await navigator.serviceWorker.register(WORKER, { scope: '/' });
    const { active } = await navigator.serviceWorker.ready;
    const own = performance.getEntriesByType('resource').map(({ name }) => name);
    const files = own.filter((url) => new URL(url).pathname.startsWith('/web/'));
    active?.postMessage([...new Set(files)]); // a cache refuses them all if one is there twice
  } catch {
    // the page works without it
  }
}
