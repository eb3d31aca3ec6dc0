// One group of duplicates: its pictures side by side, with what differs, and which one is kept.

import { getAddress } from './api.js';
import { createElement, createIcon, createPath } from './dom.js';
import { COMPARED, findDifferences, findKept, getFolder, isRemovable, planRemoval } from './duplicate-plan.js';
import { translate, translator } from './i18n.js';
import { splitPath } from './paths.js';

/** @import { Duplicate, DuplicateGroup } from './api.js' */
/** @import { Compared } from './duplicate-plan.js' */

/**
 * What a group calls.
 * @typedef {object} Callbacks
 * @property {(item: GroupItem) => void} onRemove Move the others to the bin.
 * @property {(event: MouseEvent) => void} onFollow A link within the page was clicked.
 * @property {(id: string) => string} getLink Address of a picture, shown large.
 */

export class GroupItem {
  #callbacks;

  /** @type {HTMLElement[]} */
  #radios;

  #remove;
  #about = createElement('p', { class: 'group-about' });

  /** Index of the picture that is kept. */
  kept;

  /**
   * @param {DuplicateGroup} group
   * @param {Callbacks} callbacks
   */
  constructor(group, callbacks) {
    this.group = group;
    this.#callbacks = callbacks;
    this.kept = findKept(group);
    const differences = findDifferences(group.pictures);
    this.#radios = group.pictures.map((picture, i) => this.#createRadio(picture, i));
    const cards = group.pictures.map((picture, i) => this.#createCard(picture, this.#radios[i], differences));
    this.#remove = createElement('button', { type: 'button', class: 'write-action', click: () => callbacks.onRemove(this) });
    const title = translate('duplicates_group', { n: group.pictures.length });
    const row = createElement('div', { class: 'duplicate-cards', role: 'radiogroup', 'aria-label': translate('duplicates_choose') }, ...cards);
    this.element = createElement('li', { class: 'duplicate-group' },
      createElement('div', { class: 'group-header' }, createElement('h2', { text: title }), this.#about, this.#remove), row);
    this.#update();
  }

  get plan() {
    return planRemoval(this.group, this.kept);
  }

  get size() {
    return this.#radios.length;
  }

  /**
   * Keep another picture.
   * @param {number} place
   */
  keep(place) {
    this.kept = place;
    this.#update();
  }

  /** @param {number} place */
  focus(place) {
    const radio = this.#radios[Math.min(place, this.size - 1)];
    for (const one of this.#radios) one.tabIndex = one === radio ? 0 : -1;
    radio.focus({ preventScroll: true });
    radio.closest('.duplicate-card')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  /**
   * Return the index of the picture with the focus, or -1.
   * @param {Element | null} focused
   */
  findPlace(focused) {
    return this.#radios.findIndex((radio) => radio === focused);
  }

  #update() {
    const { plan } = this;
    for (const [i, radio] of this.#radios.entries()) {
      const isKept = i === this.kept;
      const isStaying = !isKept && !isRemovable(this.group.pictures[i]);
      radio.setAttribute('aria-checked', String(isKept));
      radio.tabIndex = isKept ? 0 : -1;
      const badge = /** @type {HTMLElement} */ (radio.lastElementChild);
      badge.textContent = translate(isKept ? 'duplicates_kept' : isStaying ? 'duplicates_stays' : 'duplicates_goes');
      radio.closest('.duplicate-card')?.classList.toggle('is-kept', isKept);
    }
    const bytes = translator.formatBytes(plan.bytes);
    this.#about.textContent = translate('duplicates_frees', { size: bytes });
    this.#about.hidden = !plan.remove.length;
    this.#remove.hidden = !plan.remove.length;
    this.#remove.replaceChildren(createIcon('bin'), createElement('span', { text: translate('duplicates_remove', { n: plan.remove.length }) }));
  }

  /**
   * @param {Duplicate} picture
   * @param {number} place
   */
  #createRadio(picture, place) {
    const { name, folder } = splitPath(picture.path);
    const image = createElement('img', { src: getAddress(picture.id, 'thumbnail'), alt: '', loading: 'lazy' });
    const click = () => {
      this.keep(place);
      this.focus(place);
    };
    const label = translate('duplicates_keep', { name, folder });
    return createElement('button', { type: 'button', role: 'radio', class: 'duplicate-picture', 'aria-label': label, title: picture.path, click },
      image, createElement('span', { class: 'duplicate-badge' }));
  }

  /**
   * @param {Duplicate} picture
   * @param {HTMLElement} radio
   * @param {Set<Compared>} differences
   */
  #createCard(picture, radio, differences) {
    const { name } = splitPath(picture.path);
    const link = createElement('a', { href: this.#callbacks.getLink(picture.id), class: 'duplicate-name', text: name, click: this.#callbacks.onFollow });
    const facts = COMPARED.filter((one) => differences.has(one) || one === 'pixels' || one === 'bytes').map((one) => createElement('div', { class: differences.has(one) ? 'differs' : '' },
      createElement('dt', { text: translate(`duplicates_fact_${one}`) }), createElement('dd', {}, ...describeFact(picture, one))));
    const score = picture.score?.toFixed(2) ?? '1.00';
    if (score !== '1.00') {
      facts.push(createElement('div', {}, createElement('dt', { text: translate('fact_score') }), createElement('dd', { text: score })));
    }
    const marks = picture.marks.map((mark) => createElement('span', { class: 'duplicate-mark', text: translate(`duplicates_mark_${mark}`) }));
    return createElement('div', { class: 'duplicate-card' }, radio, link, ...marks, createElement('dl', {}, ...facts));
  }
}

/**
 * Describe what is compared of a picture.
 * @param {Duplicate} picture
 * @param {Compared} name
 * @returns {(string | Node)[]}
 */
function describeFact(picture, name) {
  if (name === 'pixels') return [`${picture.width} × ${picture.height}`];
  if (name === 'bytes') return [translator.formatBytes(picture.bytes)];
  if (name === 'type') return [picture.type.toUpperCase()];
  if (name === 'folder') return createPath(getFolder(picture.path));
  if (name === 'taken') return [picture.taken ? translator.formatTime(picture.taken) : '–'];
  if (name === 'files') return [translator.formatNumber(picture.files.length)];
  if (name === 'tags') return [picture.tags.join(', ') || '–'];
  if (name === 'rating') return ['★'.repeat(picture.rating ?? 0) || '–'];
  if (name === 'favourite') return [translate(picture.favourite ? 'duplicates_yes' : 'duplicates_no')];
  return [picture.camera || '–'];
}
