// What is offered while a query is typed: pure functions, without the page.

/**
 * What a query may go on with.
 * @typedef {object} Suggestion
 * @property {string} kind
 * @property {string} text As it is shown.
 * @property {string} insert What takes the place of what was typed.
 * @property {number | null} count Of pictures.
 */

/**
 * Suggestions of one kind.
 * @typedef {{ kind: string, items: Suggestion[] }} Group
 */

/** Kinds in the order in which they are shown. */
export const KINDS = Object.freeze(
  /** @type {const} */ (['recent', 'collection', 'tag', 'album', 'folder', 'word', 'label', 'date', 'camera', 'lens', 'value', 'field']),
);
export const MAX_RECENT = 8;

/**
 * Split a query into what is typed last, a word or a condition with a value in quotes, and the rest.
 * @param {string} text
 * @returns {{ before: string, last: string }}
 */
export function splitLastPart(text) {
  const [, before = '', last = ''] = /^((?:\s|"(?:[^"\\]|\\.)*"|[^\s"])*?)((?:[^\s"]+:)?"[^"]*|[^\s"]*)$/s.exec(text) ?? [];
  return { before, last };
}

/**
 * Put suggestions of the same kind together.
 * @param {readonly Suggestion[]} suggestions
 * @returns {Group[]}
 */
export function groupSuggestions(suggestions) {
  const groups = KINDS.map((kind) => ({ kind, items: suggestions.filter((one) => one.kind === kind) }));
  return groups.filter(({ items }) => items.length);
}

/**
 * Return the text of the box once a suggestion is taken. A field waits for its value.
 * @param {string} text
 * @param {Suggestion} suggestion
 */
export function insertSuggestion(text, { kind, insert }) {
  if (kind === 'recent') return insert;
  return splitLastPart(text).before + insert + (kind === 'field' ? '' : ' ');
}

/**
 * Return the place of the option that a key leads to; -1 is the box itself.
 * @param {number} place
 * @param {number} step 1 or -1.
 * @param {number} count
 */
export function moveOption(place, step, count) {
  return ((place + 1 + step + count + 1) % (count + 1)) - 1;
}

/**
 * Return recent searches with one more, newest first.
 * @param {readonly string[]} recent
 * @param {string} query
 */
export function addRecent(recent, query) {
  const text = query.trim();
  if (!text) return [...recent];
  return [text, ...recent.filter((one) => one !== text)].slice(0, MAX_RECENT);
}

/**
 * Read a list of texts that was stored; empty for anything else.
 * @param {string | null} stored
 * @returns {string[]}
 */
export function parseRecent(stored) {
  try {
    const list = JSON.parse(stored ?? '[]');
    return Array.isArray(list) ? list.filter((one) => typeof one === 'string').slice(0, MAX_RECENT) : [];
  } catch {
    return [];
  }
}
