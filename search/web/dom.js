// Elements of the document.

import { splitAtSeparators } from './paths.js';

/** @import { Translator } from './i18n.js' */

const SVG = 'http://www.w3.org/2000/svg';

/** @typedef {string | number | boolean | null | undefined | ((event: any) => void)} Property */

/**
 * Return the element with this id. Raises an error if there is none of this type.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type]
 * @returns {T}
 */
export function getElement(id, type) {
  const element = document.getElementById(id);
  if (!element || (type && !(element instanceof type))) throw new Error(`no ${type?.name ?? 'element'} has the id ${id}`);
  return /** @type {T} */ (element);
}

/**
 * Create an element. `text` becomes its text, functions become listeners, all else attributes.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, Property>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function createElement(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'text') element.textContent = String(value ?? '');
    else if (typeof value === 'function') element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/**
 * Create one of the symbols of index.html.
 * @param {string} name
 */
export function createIcon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/**
 * Create the nodes of a path that may break after its separators.
 * @param {string} path
 */
export function createPath(path) {
  return splitAtSeparators(path).flatMap((part) => [part, createElement('wbr')]);
}

/**
 * Close a dialog by a click beside it. The press must begin there too, as text is selected past the
 * edge of a dialog.
 * @param {HTMLDialogElement} dialog
 */
export function closeOnOutsideClick(dialog) {
  let beganOutside = false;
  /** @param {MouseEvent} event */
  const isOutside = ({ target, clientX: x, clientY: y }) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    return target === dialog && (x < left || x > right || y < top || y > bottom);
  };
  dialog.addEventListener('pointerdown', (event) => {
    beganOutside = isOutside(event);
  });
  dialog.addEventListener('click', (event) => {
    if (beganOutside && isOutside(event)) dialog.close();
  });
}

/**
 * Move the focus from an element that is about to go, or to be disabled, to another one.
 * @param {Element} element
 * @param {HTMLElement} other
 */
export function moveFocus(element, other) {
  if (element.contains(document.activeElement)) other.focus({ preventScroll: true });
}

/**
 * Write the texts of index.html: those that its elements name in `data-text`, `data-label` and
 * `data-placeholder`.
 * @param {Translator} translator
 */
export function translateDocument({ language, translate, hasText }) {
  /** @param {string} attribute */
  const findTexts = (attribute) =>
    [...document.querySelectorAll(`[${attribute}]`)].map((element) => {
      const key = element.getAttribute(attribute) ?? '';
      if (!hasText(key)) throw new Error(`there is no text ${key}`);
      return /** @type {const} */ ([element, translate(key)]);
    });
  document.documentElement.lang = language;
  document.title = translate('title');
  document.querySelector('meta[name=description]')?.setAttribute('content', translate('description'));
  for (const [element, text] of findTexts('data-text')) element.textContent = text;
  for (const [element, text] of findTexts('data-placeholder')) element.setAttribute('placeholder', text);
  for (const [element, text] of findTexts('data-label')) {
    element.setAttribute('aria-label', text);
    if (element.matches('button, a')) element.setAttribute('title', text);
  }
}
