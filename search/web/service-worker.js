// Shows the page when the server does not answer, so that it says so. It keeps the page's own files
// alone: no picture, and no answer of the API.

const CACHE = 'lookalike-page';
const worker = /** @type {any} */ (globalThis);

worker.addEventListener('install', (/** @type {any} */ event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.add('/')));
  worker.skipWaiting();
});

worker.addEventListener('activate', (/** @type {any} */ event) => event.waitUntil(worker.clients.claim()));

/** The page tells which files it has. */
worker.addEventListener('message', (/** @type {any} */ event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(event.data)));
});

worker.addEventListener('fetch', (/** @type {any} */ event) => {
  const { request } = event;
  const { pathname } = new URL(request.url);
  if (request.mode === 'navigate' && pathname === '/') event.respondWith(fetchOr(request, '/'));
  else if (request.method === 'GET' && pathname.startsWith('/web/')) event.respondWith(fetchOr(request, request.url));
});

/**
 * Ask the server, and take what is kept only if it does not answer.
 * @param {Request} request
 * @param {string} kept
 */
async function fetchOr(request, kept) {
  try {
    return await fetch(request);
  } catch {
    return (await caches.match(kept)) ?? Response.error();
  }
}
