// What finds pictures beside the query: toolbar, filters, timeline and map, brought together.

import { Finder } from './finder.js';
import { translator } from './i18n.js';
import { MapDialog } from './map.js';
import { getStorage, readPreferences } from './preferences.js';
import { formatProblem, toProblem } from './problems.js';
import { getResultKey } from './route.js';
import { Timeline } from './timeline.js';
import { Toolbar } from './toolbar.js';

/** @import { Api, Image, Item } from './api.js' */
/** @import { AskDialog } from './ask.js' */
/** @import { Grid } from './grid.js' */
/** @import { Route } from './route.js' */

/**
 * What it calls.
 * @typedef {object} Callbacks
 * @property {(change: Partial<Route>) => void} onChange Show another list.
 * @property {() => void} onEdit Tags or albums were changed.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

export class Finding {
  #grid;
  #callbacks;
  #toolbar;
  #finder;
  #timeline;

  /** @type {Route | null} */
  #route = null;

  /** Of the pictures that are counted. */
  #key = '';

  /**
   * @param {Api} api
   * @param {AskDialog} ask
   * @param {Grid} grid
   * @param {Callbacks} callbacks
   */
  constructor(api, ask, grid, callbacks) {
    this.#grid = grid;
    this.#callbacks = callbacks;
    const map = new MapDialog(api, {
      onSearch: (condition) => {
        const where = (this.#route?.where ?? []).filter((one) => !one.startsWith('near='));
        callbacks.onChange({ where: [...where, condition], from: '' });
      },
      getConditions: () => [...(this.#route?.where ?? [])],
      onProblem: (error) => callbacks.showToast(formatProblem(toProblem(error), translator)),
    });
    this.#toolbar = new Toolbar({
      onChange: callbacks.onChange,
      onSize: (factor) => grid.setSize(factor),
      onMap: () => map.open(),
    });
    this.#finder = new Finder(api, ask, callbacks);
    this.#timeline = new Timeline(api, (month) => this.#jump(month));
    grid.setSize(readPreferences(getStorage()).viewSize);
    addEventListener('scroll', () => this.#follow(), { passive: true });
  }

  /**
   * Show what a route is made of, before its pictures come.
   * @param {Route} route
   */
  show(route) {
    this.#route = route;
    document.body.classList.toggle('hidden-list', route.isHidden);
    this.#toolbar.show(route);
    this.#finder.show(route);
    this.#timeline.show(route);
  }

  /** Count the pictures that are shown now. */
  handleListed() {
    const route = this.#route;
    if (!route) return;
    const { items } = this.#grid;
    const ids = route.terms.length ? items.map(({ id }) => id) : null;
    const key = `${getResultKey(route)} ${ids?.toSorted().join()}`;
    if (key !== this.#key) this.#finder.count(ids);
    this.#key = key;
    this.#follow();
  }

  /** Count anew, since the library has changed. */
  invalidate() {
    this.#timeline.invalidate();
    this.#key = '';
  }

  #follow() {
    const item = /** @type {(Item & Partial<Image>) | undefined} */ (this.#grid.items[this.#grid.firstPlace]);
    if (item) this.#timeline.follow(item.taken);
  }

  /**
   * Go to a month: in the list as it is loaded, or by a list that begins there.
   * @param {string} month `none` for pictures without a date; empty for the beginning.
   */
  #jump(month) {
    const items = /** @type {readonly (Item & Partial<Image>)[]} */ (this.#grid.items);
    const isStart = !month && !this.#route?.from; // of the list that is shown
    const place = isStart ? 0 : items.findIndex(({ taken }) => (month === 'none' ? !taken : month && taken?.startsWith(month)));
    if (place < 0) this.#callbacks.onChange({ from: month });
    else if (place || this.#grid.firstPlace) this.#grid.scrollTo(place);
  }
}
