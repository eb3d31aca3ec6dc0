// The language of the page, and how it writes texts and numbers.

import { chooseLanguages, getStorage, readPreferences } from './preferences.js';
import { EN, ZH } from './texts.js';

/** @import { TextKey } from './texts.js' */
/** @typedef {(key: TextKey, values?: Record<string, string | number>) => string} Translate */
/** @typedef {ReturnType<typeof createTranslator>} Translator */

/**
 * Create the functions that write texts in one language: Chinese or, by default, English.
 * @param {readonly string[]} languages Of the reader, the preferred one first.
 */
export function createTranslator(languages) {
  const preferred = languages.map((name) => name.slice(0, 2)).find((name) => name === 'en' || name === 'zh');
  const language = preferred === 'zh' ? 'zh-CN' : 'en';
  const texts = /** @type {Readonly<Record<string, string>>} */ (preferred === 'zh' ? ZH : EN);
  const plural = new Intl.PluralRules(language);
  const decimal = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const significant = new Intl.NumberFormat(language, { maximumSignificantDigits: 2 });
  const percent = new Intl.NumberFormat(language, { style: 'percent' });

  /**
   * Format a number with at most one decimal.
   * @param {number} number
   */
  function formatNumber(number) {
    return decimal.format(number);
  }

  /**
   * Return a text with its values filled in. `n` also chooses between singular and plural.
   * @type {Translate}
   */
  function translate(key, values = {}) {
    const isOne = typeof values.n === 'number' && plural.select(values.n) === 'one';
    const text = (isOne ? texts[`${key}_one`] : undefined) ?? texts[key];
    return text.replace(/\{(\w+)\}/g, (_, name) => {
      const value = values[name];
      return typeof value === 'number' ? formatNumber(value) : value;
    });
  }

  /**
   * Return whether there is such a text.
   * @param {string} key
   * @returns {key is TextKey}
   */
  function hasText(key) {
    return Object.hasOwn(texts, key);
  }

  /**
   * Format a number of bytes in the unit that reads best.
   * @param {number} number
   */
  function formatBytes(number) {
    const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
    const power = Math.min(3, Math.floor(Math.log10(Math.max(1, number)) / 3));
    return new Intl.NumberFormat(language, {
      style: 'unit',
      unit: units[power],
      unitDisplay: 'short',
      maximumFractionDigits: 1,
    }).format(number / 1000 ** power);
  }

  /**
   * Format a local time.
   * @param {string} text `YYYY-MM-DDTHH:MM:SS`
   */
  function formatTime(text) {
    const format = new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' });
    return format.format(new Date(`${text}Z`));
  }

  /**
   * Format a month.
   * @param {string} text `YYYY-MM`
   */
  function formatMonth(text) {
    const format = new Intl.DateTimeFormat(language, { month: 'long', year: 'numeric', timeZone: 'UTC' });
    return format.format(new Date(`${text}-01T00:00:00Z`));
  }

  /**
   * Format a duration.
   * @param {number} seconds
   */
  function formatDuration(seconds) {
    if (seconds < 100) return translate('seconds', { n: Math.ceil(seconds) });
    return translate('minutes', { n: Math.ceil(seconds / 60) });
  }

  return Object.freeze({
    language,
    translate,
    hasText,
    formatNumber,
    formatBytes,
    formatTime,
    formatMonth,
    formatDuration,
    /** @param {number} share 0 to 1 */
    formatPercent: (share) => percent.format(share),
    /** @param {number} number */
    formatSignificant: (number) => significant.format(number),
  });
}

const { language: preferred } = readPreferences(getStorage());

/** The translator for the language that the reader chose, or for this browser's languages. */
export const translator = createTranslator(chooseLanguages(preferred, globalThis.navigator?.languages ?? []));
export const { translate } = translator;
