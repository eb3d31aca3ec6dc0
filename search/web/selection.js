// Which pictures of a list are selected. Nothing here knows the document.

/** @typedef {{ id: string }} Identified */

/**
 * A selection of the pictures of a list.
 * @template {Identified} T
 */
export class Selection {
  #onChange;

  /** @type {readonly T[]} */
  #items = [];

  /** @type {Set<string>} */
  #ids = new Set();

  /** Index where a range begins, or -1. */
  #anchor = -1;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  get size() {
    return this.#ids.size;
  }

  /** The selected pictures, in the order of the list. */
  get selected() {
    return this.#items.filter(({ id }) => this.#ids.has(id));
  }

  /**
   * Set the list. Pictures that are not in it are not selected any more.
   * @param {readonly T[]} items
   */
  setItems(items) {
    const known = new Set(items.map(({ id }) => id));
    const kept = new Set([...this.#ids].filter((id) => known.has(id)));
    const hasChanged = kept.size !== this.#ids.size;
    if (items[this.#anchor]?.id !== this.#items[this.#anchor]?.id) this.#anchor = -1;
    this.#items = items;
    this.#ids = kept;
    if (hasChanged) this.#onChange();
  }

  /** @param {string} id */
  has(id) {
    return this.#ids.has(id);
  }

  /**
   * Select a picture, or take it out.
   * @param {number} place
   */
  toggle(place) {
    const item = this.#items[place];
    if (!item) return;
    if (!this.#ids.delete(item.id)) this.#ids.add(item.id);
    this.#anchor = place;
    this.#onChange();
  }

  /**
   * Select all from the last picture that was selected or taken out to this one.
   * @param {number} place
   */
  extend(place) {
    if (!this.#items[place]) return;
    const from = this.#anchor < 0 ? place : this.#anchor;
    const [first, last] = from < place ? [from, place] : [place, from];
    for (const { id } of this.#items.slice(first, last + 1)) this.#ids.add(id);
    if (this.#anchor < 0) this.#anchor = place;
    this.#onChange();
  }

  /** Let ranges begin at a picture. @param {number} place */
  setAnchor(place) {
    this.#anchor = place;
  }

  selectAll() {
    this.#ids = new Set(this.#items.map(({ id }) => id));
    this.#onChange();
  }

  clear() {
    if (!this.#ids.size) return;
    this.#ids.clear();
    this.#anchor = -1;
    this.#onChange();
  }
}
