// The HTTP API: what it answers, or the Problem that it has.

/** A refusal. status: of HTTP, 0 when nothing answered; detail: what the server says of it. */
export class Problem extends Error {
  constructor(status, detail = '') {
    super(detail);
    this.status = status;
    this.detail = detail;
  }
}

let askToken = null;

/** ask: called when the server wants a token; resolves once somebody is logged in. */
export function onLocked(ask) {
  askToken = ask;
}

async function call(path, options = {}) {
  for (let asked = false; ; asked = true) {
    let response;
    try {
      response = await fetch(`/api/v1/${path}`, options);
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Problem(0);
    }
    if (response.ok) return response;
    if (response.status !== 401 || path === 'login') throw await problem(response);
    if (asked) throw new Problem(401); // logged in, and the browser does not say so
    await askToken();
  }
}

async function problem(response) {
  try {
    return new Problem(response.status, (await response.json()).detail ?? '');
  } catch {
    return new Problem(response.status, response.statusText);
  }
}

async function json(path, options) {
  const response = await call(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0);
  }
}

function said(value, more = {}) {
  const headers = { 'Content-Type': 'application/json' };
  return { method: 'POST', headers, body: JSON.stringify(value), ...more };
}

/** Pictures in a form; fields: JSON beside them, by name. */
function uploaded(blobs, fields = {}, more = {}) {
  const body = new FormData();
  for (const blob of blobs) body.append('image', blob, 'picture');
  for (const [name, value] of Object.entries(fields)) body.append(name, JSON.stringify(value));
  return { method: 'POST', body, ...more };
}

function given(source) {
  return source instanceof Blob ? uploaded([source]) : said({ url: source });
}

/** Hits. terms: of the query; blobs: the pictures that they name as 0, 1, and so on. */
export function search(terms, k, blobs, signal) {
  const query = { terms, k };
  return json('search', blobs.length ? uploaded(blobs, { query }, { signal }) : said(query, { signal }));
}

/** A job that makes variants. source: {id}, {url} or {blob}; options: as the API has them. */
export function vary({ blob, ...named }, options) {
  const asked = { ...options, wait: false };
  return json('variants', blob ? uploaded([blob], { options: asked }) : said({ ...named, ...asked }));
}

/** A variant, as a Blob. */
export async function variant(id) {
  return (await call(`variants/${id}.png`)).blob();
}

/** A page of the library's pictures, the newest first. */
export function pictures(page, signal) {
  return json(`images?page=${page}`, { signal });
}

/** What is known of a picture. */
export function picture(id, signal) {
  return json(`images/${encodeURIComponent(id)}`, { signal });
}

/** Keep a picture: a Blob or a URL. */
export function keep(source) {
  return json('images', given(source));
}

/** A JPEG of a Blob or URL, as a Blob. */
export async function preview(source, signal) {
  const response = await call('images/preview', { ...given(source), signal });
  return response.blob();
}

/** Where a picture of the library is shown: thumbnail, preview or file. */
export function address(id, kind) {
  return `/api/v1/images/${encodeURIComponent(id)}/${kind}`;
}

/** Words that can be searched for and that begin with a prefix. */
export function words(prefix, limit, signal) {
  return json(`words?prefix=${encodeURIComponent(prefix)}&limit=${limit}`, { signal });
}

export const status = () => json('status');
export const jobs = () => json('jobs');
export const job = (id) => json(`jobs/${id}`);
export const index = (path) => json('index', said({ path }));
export const dial = () => json('variants');
export const cancel = (id, more) => json(`jobs/${id}`, { method: 'DELETE', ...more });
export const login = (token) => call('login', said({ token }));

/** The events of a job. */
export function events(id) {
  return new EventSource(`/api/v1/jobs/${id}/events`);
}
