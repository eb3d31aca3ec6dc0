// Conditions of the present search: what each says, and lists of them with one more or one less.

import { quoteValue } from './exposure.js';

/** @import { Problem } from './problems.js' */
/** @import { Translator } from './i18n.js' */

/**
 * A condition of one field. sign: as `=` or `>=`.
 * @typedef {{ field: string, sign: string, value: string }} Comparison
 */

const SIGNS = Object.freeze({ '=': '', ':': '', '!=': '≠ ', '<': '< ', '<=': '≤ ', '>': '> ', '>=': '≥ ' });

/** Fields with a text that says which values they take. */
const HELPED = Object.freeze(['width', 'height', 'size', 'date', 'ratio', 'rating', 'near']);

/**
 * Parse a condition of one field. Null for one that is made of several, or cannot be read.
 * @param {string} condition
 * @returns {Comparison | null}
 */
export function parseCondition(condition) {
  const [, field, sign, raw] = condition.trim().match(/^([a-z_]+)\s*(!=|<=|>=|[=:<>])\s*(.+)$/is) ?? [];
  if (!field) return null;
  const quoted = raw.match(/^"((?:[^"\\]|\\.)*)"$/s) ?? raw.match(/^'((?:[^'\\]|\\.)*)'$/s);
  if (!quoted && /[\s()"']/.test(raw)) return null;
  const value = quoted ? quoted[1].replace(/\\(.)/gs, '$1') : raw;
  return { field: field.toLowerCase(), sign: sign === ':' ? '=' : sign, value };
}

/**
 * Write a condition.
 * @param {string} field
 * @param {string} sign
 * @param {string} value
 */
export function writeCondition(field, sign, value) {
  return `${field}${sign}${quoteValue(value)}`;
}

/**
 * Return whether two conditions say the same.
 * @param {string} one
 * @param {string} other
 */
export function isSameCondition(one, other) {
  if (one === other) return true;
  const [a, b] = [parseCondition(one), parseCondition(other)];
  return a !== null && b !== null && a.field === b.field && a.sign === b.sign && a.value === b.value;
}

/**
 * Return conditions with another one, or without it if it is there.
 * @param {readonly string[]} where
 * @param {string} condition
 */
export function toggleCondition(where, condition) {
  const others = where.filter((one) => !isSameCondition(one, condition));
  return others.length < where.length ? others : [...where, condition];
}

/**
 * Return conditions with another one in the place of one of them.
 * @param {readonly string[]} where
 * @param {string} condition
 * @param {string} other
 */
export function exchangeCondition(where, condition, other) {
  return where.map((one) => (isSameCondition(one, condition) ? other : one));
}

/**
 * Write the condition that a picture has this tag or is in this album. A star in a condition stands
 * for any text, so a star of the name becomes a question mark, which stands for one letter.
 * @param {'tag' | 'album'} field
 * @param {string} name
 */
export function writeNameCondition(field, name) {
  return writeCondition(field, '=', name.replaceAll('*', '?'));
}

/**
 * Return conditions with another value of a field. Those of the same field and sign go.
 * @param {readonly string[]} where
 * @param {string} field
 * @param {string} sign
 * @param {string} value Empty for none.
 */
export function replaceCondition(where, field, sign, value) {
  const others = where.filter((one) => {
    const parsed = parseCondition(one);
    return parsed?.field !== field || parsed.sign !== sign;
  });
  return value ? [...others, writeCondition(field, sign, value)] : others;
}

/**
 * Return the value of a field in conditions, or an empty text.
 * @param {readonly string[]} where
 * @param {string} field
 * @param {string} sign
 */
export function findValue(where, field, sign) {
  return where.map(parseCondition).find((one) => one?.field === field && one.sign === sign)?.value ?? '';
}

/**
 * Describe a value of a field as people read it. One that the server would refuse stays as it is.
 * @param {string} field
 * @param {string} value
 * @param {Pick<Translator, 'translate' | 'hasText' | 'formatMonth'>} translator
 */
export function describeValue(field, value, { translate, hasText, formatMonth }) {
  const key = `value_${field}_${value}`;
  if (hasText(key)) return translate(key);
  if (field === 'type') return value.toUpperCase();
  if (field === 'rating' && /^[1-5]$/.test(value)) return '★'.repeat(Number(value));
  if (/^\d{4}-(0[1-9]|1[0-2])$/.test(value) && (field === 'date' || field === 'month')) return formatMonth(value);
  if (field === 'folder') return value.replace(/\/+$/, '').split('/').at(-1) || value;
  return value;
}

/**
 * Describe a condition as people read it: `Type: JPEG`.
 * @param {string} condition
 * @param {Pick<Translator, 'translate' | 'hasText' | 'formatMonth'>} translator
 */
export function describeCondition(condition, translator) {
  const parsed = parseCondition(condition);
  const key = `field_${parsed?.field}`;
  if (!parsed || !translator.hasText(key)) return condition;
  const sign = SIGNS[/** @type {keyof typeof SIGNS} */ (parsed.sign)];
  const value = describeValue(parsed.field, parsed.value, translator);
  return translator.translate('condition_text', { field: translator.translate(key), value: `${sign}${value}` });
}

/**
 * Say what mends a condition that the server refused, in the reader's language. Empty if nothing
 * is known but what the server says.
 * @param {Pick<Problem, 'code' | 'detail'>} problem
 * @param {Pick<Translator, 'translate' | 'hasText'>} translator
 */
export function adviseOnCondition({ code, detail }, { translate, hasText }) {
  if (!code.startsWith('condition_')) return '';
  const [, near] = detail.match(/did you mean ([^?]+)\?/) ?? [];
  if (near) return translate('condition_near', { name: near });
  const field = detail.match(/^([a-z_]+)\s*(?:!=|<=|>=|[=:<>])/)?.[1] ?? '';
  const key = `condition_help_${field}`;
  if (HELPED.includes(field) && hasText(key)) return translate(key);
  const [, example] = detail.match(/such as (\S.*)$/) ?? [];
  return example ? translate('condition_example', { example }) : translate('condition_help');
}
