// What went wrong, as a text in the reader's language.

import { adviseOnCondition } from './conditions.js';

/** @import { Translator } from './i18n.js' */

/** What went wrong. code: as docs/api.md lists them; detail: an English sentence of the server. */
export class Problem extends Error {
  /**
   * @param {number} status Of HTTP; 0 if nothing answered.
   * @param {string} code
   * @param {string} [detail]
   */
  constructor(status, code, detail = '') {
    super(detail || code);
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

const RETRY_STATUS = Object.freeze([0, 408, 429, 500, 503]);

/**
 * Return whether an error is an aborted request, which is nobody's problem.
 * @param {unknown} error
 */
export function isAbort(error) {
  return error instanceof Error && error.name === 'AbortError';
}

/**
 * Return an error as a Problem.
 * @param {unknown} error
 */
export function toProblem(error) {
  return error instanceof Problem ? error : new Problem(-1, 'unknown', String(error));
}

/**
 * Return whether the same request may succeed later.
 * @param {Problem} problem
 */
export function isTemporary(problem) {
  return RETRY_STATUS.includes(problem.status);
}

/**
 * Describe a problem: its title by its code, and a hint. The server's detail is the hint in English
 * only, as the server writes no other language; what mends a condition is told in each.
 * @param {Pick<Problem, 'code' | 'detail'>} problem
 * @param {Translator} translator
 */
export function describeProblem({ code, detail }, translator) {
  const { language, translate, hasText } = translator;
  const key = `problem_${code}`;
  const title = translate(hasText(key) ? key : 'problem_unknown');
  const hint = `${key}_hint`;
  if (hasText(hint)) return { title, hint: translate(hint) };
  return { title, hint: language === 'en' ? capitalize(detail) : adviseOnCondition({ code, detail }, translator) };
}

/**
 * Describe a problem in one line.
 * @param {Pick<Problem, 'code' | 'detail'>} problem
 * @param {Translator} translator
 */
export function formatProblem(problem, translator) {
  const { title, hint } = describeProblem(problem, translator);
  return hint ? `${title}. ${hint}`.replace(/([.。])\. /, '$1 ') : title;
}

/**
 * Begin a sentence with a capital letter, unless its first word is no plain word, such as a path.
 * @param {string} sentence
 */
function capitalize(sentence) {
  return sentence.replace(/^[a-z](?=[a-z]* )/, (letter) => letter.toUpperCase());
}
