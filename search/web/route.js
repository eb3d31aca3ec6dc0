// What is looked at, as an address that can be shared, and as an entry of the browser's history.
//
// A route is {q, crop, k, see, upload}: q is `id:ID`, a URL or words; crop is [x, y, w, h] in
// per cent of the picture; see is the id of the picture that is shown large; upload is the number
// of pictures that are only in this tab, for which q is empty.

export const FEW = 200;
export const MOST = 10_000;
const ID_DIGITS = 16;

/** An id as addresses have it. */
export function short(id) {
  return id.slice(0, ID_DIGITS);
}

/** Whether a text is the address of something. */
export function isAddress(text) {
  return /^https?:\/\/\S+$/i.test(text);
}

/** The id that `id:ID` means, or null. */
export function idOf(q) {
  return q.startsWith('id:') ? q.slice(3) : null;
}

/** The route that an address means. */
export function read(search) {
  const given = new URLSearchParams(search);
  const k = Number(given.get('k'));
  const crop = (given.get('crop') ?? '').split(',').map(Number);
  const isCrop = crop.length === 4 && crop.every((value) => Number.isFinite(value) && value >= 0);
  return {
    q: (given.get('q') ?? '').trim(),
    crop: isCrop && crop[2] > 0 && crop[3] > 0 ? crop : null,
    k: Number.isInteger(k) && k >= 1 && k <= MOST ? k : FEW,
    see: given.get('see') ?? '',
    upload: null,
  };
}

/** The address of a route. */
export function write({ q, crop, k, see, upload }) {
  const parts = [];
  const add = (name, value) => {
    parts.push(`${name}=${encodeURIComponent(value).replace(/%(3A|2F|2C)/g, decodeURIComponent)}`);
  };
  if (q) add('q', q);
  if (q && crop) add('crop', crop.join(','));
  if (q && k !== FEW) add('k', k);
  if (see && upload === null) add('see', short(see));
  return parts.length ? `/?${parts.join('&')}` : '/';
}

/** What two routes share when they have the same results. */
export function key({ q, crop, k, upload }) {
  return JSON.stringify([q, crop, k, upload]);
}

/** Whether a route is a query of words. */
export function isWords({ q, upload }) {
  return upload === null && !idOf(q) && !isAddress(q);
}

/** The terms of a query that a route is, of which an upload has one for each of its blobs. */
export function terms({ q, crop, upload }, { blobs } = { blobs: [] }) {
  if (isWords({ q, upload })) return [{ text: q }];
  const cut = crop ? { crop: crop.map((part) => `${part}%`) } : {};
  return upload === null ? [{ image: q, ...cut }] : blobs.map((_, image) => ({ image, ...cut }));
}
