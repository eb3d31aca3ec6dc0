// Free conditions: width, height, size and date, from and to.

import { adviseOnCondition, findValue, replaceCondition, writeCondition } from './conditions.js';
import { createElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { describeProblem, isAbort, toProblem } from './problems.js';

/** @import { Api } from './api.js' */

const FIELDS = Object.freeze(/** @type {const} */ (['width', 'height', 'size', 'date']));
const SIGNS = Object.freeze(/** @type {const} */ ([['>=', 'range_from'], ['<=', 'range_to']]));
const EXAMPLES = Object.freeze({ width: '1000', height: '1000', size: '2MB', date: '2024-05' });

export class RangeForm {
  #api;
  #onChange;
  #request = new AbortController();
  #problem = createElement('p', { class: 'error-text', role: 'alert', id: 'range-problem' });

  /** @type {readonly string[]} */
  #where = [];

  /** @type {{ field: string, sign: string, input: HTMLInputElement }[]} */
  #inputs = [];

  element = createElement('form', { class: 'ranges', novalidate: '' });

  /**
   * @param {Api} api
   * @param {(where: string[]) => void} onChange
   */
  constructor(api, onChange) {
    this.#api = api;
    this.#onChange = onChange;
    for (const field of FIELDS) {
      const name = translate(`field_${field}`);
      const inputs = SIGNS.map(([sign, key]) => {
        const input = createElement('input', {
          type: 'text', autocomplete: 'off', maxlength: 40, placeholder: EXAMPLES[field], name: `${field}${sign}`,
          'aria-label': translate(key, { field: name }), 'aria-describedby': 'range-problem',
        });
        this.#inputs.push({ field, sign, input });
        return input;
      });
      const line = createElement('span', { class: 'range-inputs' }, inputs[0], ' – ', inputs[1]);
      this.element.append(createElement('div', { class: 'range' }, createElement('span', { class: 'range-name', text: name }), line));
    }
    this.element.append(this.#problem, createElement('button', { class: 'button-secondary', text: translate('range_apply') }));
    this.element.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#apply();
    });
  }

  /** @param {readonly string[]} where */
  show(where) {
    this.#where = where;
    if (this.#inputs.some(({ input }) => input === document.activeElement && input.ariaInvalid)) return;
    for (const { field, sign, input } of this.#inputs) {
      input.value = findValue(where, field, sign);
      input.ariaInvalid = null;
    }
    this.#problem.textContent = '';
  }

  /** Check what was written by the server, which knows all forms of values. */
  async #apply() {
    this.#request.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    let where = [...this.#where];
    this.#problem.textContent = '';
    for (const { field, sign, input } of this.#inputs) {
      const value = input.value.trim();
      input.ariaInvalid = null;
      if (value === findValue(this.#where, field, sign)) continue;
      where = replaceCondition(where, field, sign, value);
      if (!value) continue;
      try {
        await this.#api.countPictures([writeCondition(field, sign, value)], ['type'], signal);
      } catch (error) {
        if (isAbort(error)) return;
        const problem = toProblem(error);
        const { title, hint } = describeProblem(problem, translator);
        this.#problem.textContent = [`${title}.`, adviseOnCondition(problem, translator) || hint].filter(Boolean).join(' ');
        input.ariaInvalid = 'true';
        input.focus();
        return;
      }
    }
    this.#onChange(where);
  }
}
