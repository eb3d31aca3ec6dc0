// What the reader prefers on this device: language, theme, cut-off, model and others. Kept in localStorage.

/** @typedef {{ getItem(key: string): string | null, setItem(key: string, value: string): void }} KeyValues */
/** @typedef {'auto' | 'en' | 'zh'} Language */
/** @typedef {'system' | 'light' | 'dark'} Theme */
/** @typedef {{ language: Language, theme: Theme, minScore: number, viewSize: number,
 *   showsFilters: boolean, showsText: boolean, verifies: boolean, expand: number,
 *   model: string, labels: typeof LABELS[number] }} Preferences */

const KEY = 'lookalike-preferences';

/** How high the rows of pictures are, as a factor. */
export const VIEW_SIZES = Object.freeze([0.7, 1, 1.4, 2]);

/** The least score of results, 0 for all of them. */
export const CUT_OFFS = Object.freeze([0, 0.3, 0.5, 0.7, 0.9]);

/** How many pictures of the library are added to a query. */
export const EXPANSIONS = Object.freeze([0, 3, 5, 10]);

/** Where the labels are shown that the model sees: nowhere, in the large view, or on the pictures too. */
export const LABELS = Object.freeze(/** @type {const} */ (['off', 'view', 'tiles']));

/** model: the fingerprint of the model whose vectors are compared; empty for the library's own. */
/** @type {Readonly<Preferences>} */
export const DEFAULTS = Object.freeze({
  language: 'auto', theme: 'system', minScore: 0, viewSize: 1, showsFilters: false, showsText: false, verifies: true,
  expand: 0, model: '', labels: 'view',
});

/**
 * Read the preferences. Values that are not known count as not set.
 * @param {KeyValues | undefined} storage
 * @returns {Preferences}
 */
export function readPreferences(storage) {
  /** @type {Record<string, unknown>} */
  let stored = {};
  try {
    const value = JSON.parse(storage?.getItem(KEY) ?? '{}');
    if (value && typeof value === 'object') stored = value;
  } catch {
    // this browser keeps nothing, or another program wrote there
  }
  /** @type {<T>(known: readonly T[], value: unknown, other: T) => T} */
  const choose = (known, value, other) => known.find((one) => one === value) ?? other;
  return {
    language: choose(/** @type {const} */ (['auto', 'en', 'zh']), stored.language, DEFAULTS.language),
    theme: choose(/** @type {const} */ (['system', 'light', 'dark']), stored.theme, DEFAULTS.theme),
    minScore: choose(CUT_OFFS, stored.minScore, DEFAULTS.minScore),
    viewSize: choose(VIEW_SIZES, stored.viewSize, DEFAULTS.viewSize),
    showsFilters: choose([true, false], stored.showsFilters, DEFAULTS.showsFilters),
    showsText: choose([true, false], stored.showsText, DEFAULTS.showsText),
    verifies: choose([true, false], stored.verifies, DEFAULTS.verifies),
    expand: choose(EXPANSIONS, stored.expand, DEFAULTS.expand),
    model: typeof stored.model === 'string' ? stored.model : DEFAULTS.model,
    labels: choose(LABELS, stored.labels, DEFAULTS.labels),
  };
}

/**
 * Keep preferences beside those that are kept. Returns all of them.
 * @param {KeyValues | undefined} storage
 * @param {Partial<Preferences>} changes
 */
export function writePreferences(storage, changes) {
  const all = { ...readPreferences(storage), ...changes };
  try {
    storage?.setItem(KEY, JSON.stringify(all));
  } catch {
    // they hold until the page is loaded again
  }
  return all;
}

/**
 * Return the languages of the page, the preferred one first.
 * @param {Language} language
 * @param {readonly string[]} browser Those of the browser.
 */
export function chooseLanguages(language, browser) {
  return language === 'auto' ? browser : [language];
}

/** Return where this browser keeps preferences; undefined if it keeps nothing. */
export function getStorage() {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;
  }
}
