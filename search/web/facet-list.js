// The values of a field that pictures have, with counts. A click selects one, another click does not.

import { createElement, createIcon } from './dom.js';
import { describeValue, isSameCondition, parseCondition } from './conditions.js';
import { translate, translator } from './i18n.js';

/** @import { Facet } from './api.js' */

const FEW = 8; // values that are shown at first

/**
 * A list of values. field: of their conditions. isSwatches: values are colors.
 * @typedef {object} FacetListOptions
 * @property {string} field
 * @property {readonly Facet[]} facets
 * @property {readonly string[]} where The present conditions.
 * @property {(condition: string) => void} onToggle
 * @property {(value: string) => Node[]} [createTools] Buttons beside a value.
 * @property {(name: string) => boolean} [accepts] Which conditions of the field are in this list.
 * @property {string} [none] What is shown without a value.
 */

/**
 * Add the values of the present conditions that no picture has, so that they can be taken back.
 * @param {readonly Facet[]} facets
 * @param {readonly string[]} where
 * @param {string} field
 * @param {(value: string) => boolean} [accepts]
 * @returns {Facet[]}
 */
export function addActive(facets, where, field, accepts = () => true) {
  const missing = where.filter((condition) => {
    const parsed = parseCondition(condition);
    const isOfField = parsed?.field === field && parsed.sign === '=' && accepts(parsed.value);
    return isOfField && !facets.some((one) => isSameCondition(one.where, condition));
  });
  return [...facets, ...missing.map((condition) => ({
    value: parseCondition(condition)?.value ?? condition, count: 0, where: condition,
  }))];
}

/**
 * Create the list.
 * @param {FacetListOptions} options
 * @returns {HTMLElement}
 */
export function createFacetList({ field, facets, where, onToggle, createTools, accepts, none = translate('filters_none') }) {
  const all = addActive(facets, where, field, accepts).filter((one) => one.where);
  if (!all.length) return createElement('p', { class: 'hint', text: none });
  const isActive = (/** @type {Facet} */ one) => where.some((condition) => isSameCondition(condition, one.where));
  const list = createElement('ul', { class: field === 'color' ? 'facets color-facets' : 'facets', role: 'list' });
  const rows = all.map((one) => {
    const text = describeValue(field, one.value, translator);
    const label = translate('filter_value', { value: text, n: one.count });
    const button = createElement('button', {
      type: 'button', class: 'facet', 'aria-pressed': String(isActive(one)), title: label,
      'data-where': one.where, click: () => onToggle(one.where),
    });
    if (field === 'color') button.append(createElement('span', { class: `swatch swatch-${one.value}`, role: 'img', 'aria-label': text }));
    else button.append(createElement('span', { class: 'facet-name', text }));
    button.append(' ', createElement('span', { class: 'facet-count', text: translator.formatNumber(one.count) }));
    return createElement('li', {}, button, ...(createTools?.(one.value) ?? []));
  });
  const isMany = rows.length > FEW + 2 && field !== 'color';
  for (const [i, row] of rows.entries()) row.hidden = isMany && i >= FEW && !isActive(all[i]);
  list.append(...rows);
  if (!isMany) return list;
  const more = createElement('button', { type: 'button', class: 'button-secondary', text: translate('filter_more', { n: rows.length }) });
  more.addEventListener('click', () => {
    for (const row of rows) row.hidden = false;
    /** @type {HTMLElement | null} */ (rows[FEW].querySelector('button'))?.focus();
    more.remove();
  });
  return createElement('div', {}, list, more);
}

/**
 * Create a small button with a symbol.
 * @param {string} icon
 * @param {string} label
 * @param {() => void} click
 */
export function createTool(icon, label, click) {
  const properties = { type: 'button', class: 'icon facet-tool write-action', 'aria-label': label, title: label, click };
  return createElement('button', properties, createIcon(icon));
}
