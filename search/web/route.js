// What the page shows, as an address that can be shared and as an entry of the browser's history.

export const DEFAULT_K = 200;
export const MAX_K = 10_000;
const ID_DIGITS = 16;
export const SORT_KEYS = Object.freeze(/** @type {const} */ (['score', 'date', 'name', 'size', 'folder', 'color', 'added']));
export const KINDS = Object.freeze(['identical', 'copy', 'similar']);
export const DUPLICATE_KINDS = Object.freeze(/** @type {const} */ (['exact', 'copy', 'similar']));

/** Which of several duplicates is kept; the first without a choice. */
export const KEEP_RULES = Object.freeze(/** @type {const} */ (['largest', 'oldest', 'sharpest', 'metadata']));

/** @typedef {typeof DUPLICATE_KINDS[number]} DuplicateKind */

/**
 * A part of a query: a picture or words.
 * @typedef {object} QueryTerm
 * @property {string} what `id:ID` or a URL of a picture, `file:NUMBER` of a picture that is only in
 *   this browser, or words.
 * @property {number} weight How much it counts; negative to search away from it.
 * @property {Box | null} crop Part of the picture.
 * @property {Origin} [from] What the picture was made of, if it was restored.
 */

/**
 * What a restored picture was made of. mask: number of the file that marks what was painted over.
 * @typedef {{ term: QueryTerm, mask?: number }} Origin
 */

/**
 * What the page shows.
 * @typedef {object} Route
 * @property {readonly QueryTerm[]} terms What is searched for; none for the start page.
 * @property {readonly string[]} where Conditions, such as `type=jpeg`.
 * @property {number} k Number of results, at most.
 * @property {number | null} min Least score.
 * @property {string} kind Which hits of a picture: `identical`, `copy` for edited ones too, `similar`; empty for any.
 * @property {boolean} isFolded Whether copies of one picture are shown as one.
 * @property {string} sort An order such as `-date`; empty for the best or the newest first.
 * @property {string} from Month at which a list by date begins, `none` for pictures without a date, or empty.
 * @property {boolean} isHidden Whether the hidden pictures are listed.
 * @property {DuplicateKind | ''} duplicates Groups of duplicates of this kind are shown; empty for pictures.
 * @property {string} keep Which of several duplicates is kept; empty for the usual rule.
 * @property {string} newIn Name of the saved search whose new pictures alone are shown, or empty.
 * @property {string} see Id of the picture that is shown large, or empty.
 */

/**
 * Left, top, width and height, in per cent of a picture.
 * @typedef {[number, number, number, number]} Box
 */

/** @type {Readonly<Route>} */
export const START = Object.freeze({
  terms: Object.freeze([]),
  where: Object.freeze([]),
  k: DEFAULT_K,
  min: null,
  kind: '',
  isFolded: false,
  sort: '',
  from: '',
  isHidden: false,
  duplicates: '',
  keep: '',
  newIn: '',
  see: '',
});

/**
 * Shorten an id as addresses have it.
 * @param {string} id
 */
export function shortenId(id) {
  return id.slice(0, ID_DIGITS);
}

/**
 * Return whether a text is the address of something.
 * @param {string} text
 */
export function isAddress(text) {
  return /^(https?:\/\/|\/\/[\w[]|www\.\w)\S*$/i.test(text.trim());
}

/**
 * Return the id in `id:ID`, or null.
 * @param {string} what
 */
export function parseId(what) {
  return what.startsWith('id:') ? what.slice(3) : null;
}

/**
 * Return the number in `file:NUMBER`, or null.
 * @param {string} what
 */
export function parseFile(what) {
  return /^file:\d+$/.test(what) ? Number(what.slice(5)) : null;
}

/**
 * Return whether a part of a query is words.
 * @param {Pick<QueryTerm, 'what'>} term
 */
export function isWords({ what }) {
  return !what.startsWith('id:') && parseFile(what) === null && !isAddress(what);
}

/**
 * Return the route of a search by words, by a URL or by `id:ID`. Empty: the start page.
 * @param {string} what
 * @returns {Route}
 */
export function routeToQuery(what) {
  return what ? { ...START, terms: [{ what, weight: 1, crop: null }] } : { ...START };
}

/**
 * Return the route of a search by a picture of the library.
 * @param {string} id
 */
export function routeToPicture(id) {
  return routeToQuery(`id:${shortenId(id)}`);
}

/**
 * Return the route of the pictures that fulfil a condition.
 * @param {string} condition Such as `type=jpeg`.
 * @returns {Route}
 */
export function routeToCondition(condition) {
  return { ...START, where: [condition] };
}

/**
 * Return the text of the box for a route: its words, or the URL of its picture.
 * @param {Pick<Route, 'terms'>} route
 */
export function getBoxText({ terms }) {
  const [only] = terms;
  if (terms.length !== 1 || parseId(only.what) || parseFile(only.what) !== null) return '';
  return only.what;
}

/**
 * Parse a box. Null if it is none.
 * @param {string} text
 * @returns {Box | null}
 */
function parseBox(text) {
  const numbers = text.split(',').map(Number);
  const isBox = numbers.length === 4 && numbers.every((value) => Number.isFinite(value) && value >= 0);
  return isBox && numbers[2] > 0 && numbers[3] > 0 ? /** @type {Box} */ (numbers) : null;
}

/**
 * Parse a term as an address has it, such as `-1;10,10,80,80;id:0123`. Null if it is none.
 * @param {string} text
 * @returns {QueryTerm | null}
 */
function parseTerm(text) {
  const [, number, box, what] = text.match(/^(-?[\d.]+);([\d.,]*);(.+)$/s) ?? [];
  const weight = Number(number);
  const isFile = parseFile(what ?? '') !== null; // of another browser
  return what?.trim() && weight && Number.isFinite(weight) && !isFile ? { what, weight, crop: parseBox(box) } : null;
}

/**
 * Return an order, or an empty text for one that there is not.
 * @param {string} text
 */
function parseSort(text) {
  return SORT_KEYS.some((key) => text === key || text === `-${key}`) && text !== '-score' ? text : '';
}

/**
 * Return the conditions of a list: those of the route, and where it begins.
 * @param {Pick<Route, 'where' | 'sort' | 'from'>} route
 */
export function listConditions({ where, sort, from }) {
  if (!from || !/^-?date$/.test(sort)) return [...where];
  if (from === 'none') return [...where, 'not date>=0001'];
  return [...where, sort === 'date' ? `not date<${from}` : `not date>${from}`];
}

/**
 * Parse the query part of an address. Wrong values count as not set.
 * @param {string} search
 * @returns {Route}
 */
export function parseRoute(search) {
  const parameters = new URLSearchParams(search);
  const k = Number(parameters.get('k'));
  const min = parameters.get('min') ? Number(parameters.get('min')) : null;
  const q = (parameters.get('q') ?? '').trim();
  const terms = parameters.getAll('t').map(parseTerm).filter((term) => term !== null);
  if (q && parseFile(q) === null) terms.unshift({ what: q, weight: 1, crop: parseBox(parameters.get('crop') ?? '') });
  return {
    terms,
    where: parameters.getAll('w').filter((condition) => condition.trim()),
    k: Number.isInteger(k) && k >= 1 && k <= MAX_K ? k : DEFAULT_K,
    min: min !== null && Math.abs(min) <= 1 ? min : null,
    kind: KINDS.includes(parameters.get('kind') ?? '') ? (parameters.get('kind') ?? '') : '',
    isFolded: parameters.get('fold') === '1',
    sort: parseSort(parameters.get('sort') ?? ''),
    from: parameters.get('from')?.match(/^(\d{4}-(0[1-9]|1[0-2])|none)$/)?.[0] ?? '',
    isHidden: parameters.get('hidden') === '1',
    duplicates: DUPLICATE_KINDS.find((kind) => kind === parameters.get('duplicates')) ?? '',
    keep: KEEP_RULES.slice(1).find((rule) => rule === parameters.get('keep')) ?? '',
    newIn: parameters.get('new') ?? '',
    see: parameters.get('see') ?? '',
  };
}

/**
 * Return the address of a route. A route with a file has none but the start page's.
 * @param {Route} route
 */
export function formatRoute(route) {
  const { terms, where, k, min, kind, isFolded, sort, from, isHidden, duplicates, keep, newIn, see } = route;
  const parts = /** @type {string[]} */ ([]);
  /** @type {(name: string, value: string | number) => void} */
  const add = (name, value) => {
    parts.push(`${name}=${encodeURIComponent(value).replace(/%(3A|3B|2F|2C)/g, decodeURIComponent)}`);
  };
  if (terms.some(({ what }) => parseFile(what) !== null)) return '/';
  const [first] = terms;
  if (terms.length === 1 && first.weight === 1) {
    add('q', first.what);
    if (first.crop) add('crop', first.crop.join(','));
  } else for (const { what, weight, crop } of terms) add('t', `${weight};${crop?.join(',') ?? ''};${what}`);
  for (const condition of where) add('w', condition);
  if (terms.length && k !== DEFAULT_K) add('k', k);
  if (terms.length && min !== null) add('min', min);
  if (terms.length && kind) add('kind', kind);
  if (isFolded) add('fold', 1);
  if (sort) add('sort', sort);
  if (from) add('from', from);
  if (isHidden) add('hidden', 1);
  if (duplicates) add('duplicates', duplicates);
  if (duplicates && keep) add('keep', keep);
  if (newIn) add('new', newIn);
  if (see) add('see', shortenId(see));
  return parts.length ? `/?${parts.join('&')}` : '/';
}

/**
 * Return a key that two routes share if they have the same results.
 * @param {Route} route
 */
export function getResultKey({ terms, where, k, min, kind, isFolded, sort, from, isHidden, duplicates, keep, newIn }) {
  const parts = terms.map(({ what, weight, crop }) => [what, weight, crop]);
  return JSON.stringify([parts, where, k, min, kind, isFolded, sort, from, isHidden, duplicates, keep, newIn]);
}
