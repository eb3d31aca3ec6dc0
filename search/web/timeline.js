// The timeline beside the library in the order of dates: a slider by month, with years.

import { createElement, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { getTimelineStep } from './keyboard.js';
import { isAbort } from './problems.js';
import { arrangeMonths, findSpan, placeYears, stepSpan } from './timeline-math.js';

/** @import { Api } from './api.js' */
/** @import { Route } from './route.js' */
/** @import { Span } from './timeline-math.js' */

const YEAR_ROOM = 22; // pixels
const WAIT_MS = 350; // after the last key, before the list goes there

export class Timeline {
  #api;
  #onJump;
  #slider = getElement('timeline');
  #thumb = getElement('timeline-thumb');
  #years = getElement('timeline-years');
  #request = new AbortController();
  #timer = 0;
  #index = 0;
  #isDragging = false;

  /** @type {Span[]} */
  #spans = [];

  #key = '';

  /**
   * @param {Api} api
   * @param {(month: string) => void} onJump Show the list from a month on; `none`: pictures without a date.
   */
  constructor(api, onJump) {
    this.#api = api;
    this.#onJump = onJump;
    this.#slider.addEventListener('keydown', (event) => this.#handleKey(event));
    this.#slider.addEventListener('pointerdown', (event) => {
      if (event.button) return;
      this.#isDragging = true;
      this.#slider.setPointerCapture(event.pointerId);
      this.#point(event);
    });
    this.#slider.addEventListener('pointermove', (event) => {
      if (this.#isDragging) this.#point(event);
    });
    this.#slider.addEventListener('pointerup', () => {
      if (!this.#isDragging) return;
      this.#isDragging = false;
      this.#jump();
    });
    this.#slider.addEventListener('pointercancel', () => {
      this.#isDragging = false;
    });
    new ResizeObserver(() => this.#drawYears()).observe(this.#slider);
  }

  /**
   * Show the months of a list by date; nothing for another list.
   * @param {Route} route
   */
  async show({ terms, where, sort, isHidden }) {
    const isShown = !terms.length && !isHidden && /^-?date$/.test(sort);
    const key = JSON.stringify([where, sort]);
    if (!isShown) this.#hide();
    if (!isShown || (key === this.#key && !this.#slider.hidden)) return;
    this.#request.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    try {
      const { months } = await this.#api.fetchMonths(where, signal);
      if (signal.aborted) return;
      this.#spans = arrangeMonths(months, sort === 'date');
      this.#key = key;
    } catch (error) {
      if (!isAbort(error)) this.#hide();
      return;
    }
    this.#slider.hidden = this.#spans.length < 2;
    document.body.classList.toggle('has-timeline', !this.#slider.hidden);
    this.#slider.setAttribute('aria-valuemax', String(this.#spans.length - 1));
    this.#drawYears();
    this.#set(0);
  }

  /** Ask for the months anew at the next list. */
  invalidate() {
    this.#key = '';
  }

  /**
   * Show where the list is.
   * @param {string | null | undefined} taken When the first picture in the window was taken.
   */
  follow(taken) {
    if (this.#slider.hidden || this.#isDragging || this.#timer) return;
    const month = taken?.slice(0, 7) ?? null;
    const index = this.#spans.findIndex((span) => span.month === month);
    if (index >= 0) this.#set(index);
  }

  #hide() {
    this.#request.abort();
    this.#key = '';
    this.#slider.hidden = true;
    document.body.classList.remove('has-timeline');
  }

  #drawYears() {
    const height = this.#slider.clientHeight;
    const years = placeYears(this.#spans, height, YEAR_ROOM).map(({ year, place }) => {
      const element = createElement('span', { text: year });
      element.style.top = `${place * 100}%`;
      return element;
    });
    this.#years.replaceChildren(...years);
  }

  /** @param {number} index */
  #set(index) {
    const span = this.#spans[index];
    if (!span) return;
    this.#index = index;
    const month = span.month ? translator.formatMonth(span.month) : translate('timeline_undated');
    const text = translate('timeline_month', { month, n: span.count });
    this.#slider.setAttribute('aria-valuenow', String(index));
    this.#slider.setAttribute('aria-valuetext', text);
    this.#thumb.style.top = `${((span.from + span.to) / 2) * 100}%`;
    this.#thumb.dataset.text = text;
  }

  /** @param {PointerEvent} event */
  #point({ clientY }) {
    const { top, height } = this.#slider.getBoundingClientRect();
    this.#set(findSpan(this.#spans, (clientY - top) / height));
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    const step = getTimelineStep(event);
    if (!step) return;
    event.preventDefault();
    const { by, isByYear } = step;
    this.#set(stepSpan(this.#spans, this.#index, by, isByYear));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#jump(), WAIT_MS);
  }

  #jump() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const span = this.#spans[this.#index];
    if (span) this.#onJump(this.#index === 0 ? '' : (span.month ?? 'none'));
  }
}
