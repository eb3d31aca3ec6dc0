// The bar of what can be done with the selected pictures.

import { getAddress } from './api.js';
import { copyText } from './clipboard.js';
import { canShowFiles } from './desktop.js';
import { saveImages } from './download.js';
import { getElement, moveFocus } from './dom.js';
import { translate, translator } from './i18n.js';
import { formatProblem, toProblem } from './problems.js';
import { shortenId } from './route.js';

/** @import { Api, Change, Item } from './api.js' */
/** @import { AskDialog } from './ask.js' */
/** @import { QueryTerm } from './route.js' */
/** @import { Selection } from './selection.js' */

const MOST_SHOWN = 6; // pictures of a question
/** Names of what is saved, by route. */
const FILES = Object.freeze({ download: 'lookalike.zip', csv: 'lookalike.csv', sheet: 'lookalike.html' });
const AWAY = -0.5; // weight: a full one would lead to pictures that are like nothing

/**
 * What the bar calls.
 * @typedef {object} Callbacks
 * @property {(terms: QueryTerm[]) => void} onQuery Add terms to the query.
 * @property {(item: Item) => void} onOpen Show a picture large.
 * @property {() => void} onChange Pictures were changed, hidden or removed.
 * @property {() => Promise<void>} onSelectAll Select all pictures of the list.
 * @property {() => number} countPictures Pictures of the list, also those that are not loaded yet.
 * @property {() => readonly Pick<QueryTerm, 'weight'>[]} getTerms The terms of the present query.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

export class SelectionBar {
  #api;
  #ask;
  #callbacks;
  #bar = getElement('selection-bar');
  #isDesktopKnown = false;

  /** @type {Selection<Item>} */
  #selection;

  /**
   * @param {Api} api
   * @param {AskDialog} ask
   * @param {Selection<Item>} selection
   * @param {Callbacks} callbacks
   */
  constructor(api, ask, selection, callbacks) {
    this.#api = api;
    this.#ask = ask;
    this.#selection = selection;
    this.#callbacks = callbacks;
    /** @type {Record<string, () => void | Promise<void>>} */
    const actions = {
      'selection-clear': () => this.#clear(),
      'selection-all': () => callbacks.onSelectAll(),
      'selection-more': () => this.#search(1),
      'selection-less': () => this.#search(AWAY),
      'selection-open': () => callbacks.onOpen(selection.selected[0]),
      'selection-favourite': () => this.#toggleFavourites(),
      'selection-tag': () => this.#changeTag(),
      'selection-album': () => this.#changeAlbum(),
      'selection-unhide': () => this.#change({ hidden: false }, 'unhidden'),
      'selection-hide': () => this.#change({ hidden: true }, 'hidden_now'),
      'selection-remove': () => this.#removeFiles(),
      'selection-zip': () => this.#save('download'),
      'selection-csv': () => this.#save('csv'),
      'selection-sheet': () => this.#save('sheet'),
      'selection-copy': () => this.#copyPaths(),
      'selection-reveal': () => this.#reveal(),
    };
    for (const [id, act] of Object.entries(actions)) {
      getElement(id).addEventListener('click', () => this.#run(getElement(id), act));
    }
    const rating = getElement('selection-rating', HTMLSelectElement);
    rating.addEventListener('change', () => {
      const stars = Number(rating.value);
      rating.value = '';
      this.#run(rating, () => this.#change({ rating: stars }, 'rated'));
    });
  }

  /** Offer the file manager where it shows files. */
  async #findDesktop() {
    this.#isDesktopKnown = true;
    getElement('selection-reveal').hidden = !(await canShowFiles(this.#api));
  }

  /** Show the bar if pictures are selected. */
  show() {
    const { size } = this.#selection;
    if (size && !this.#isDesktopKnown) this.#findDesktop();
    if (!size) moveFocus(this.#bar, getElement('results'));
    this.#bar.hidden = !size;
    document.body.classList.toggle('has-selection', size > 0);
    getElement('selection-count').textContent = size ? translate('selected', { n: size }) : '';
    const all = this.#callbacks.countPictures();
    getElement('selection-all').textContent = translate('selection_all_n', { n: all });
    getElement('selection-all', HTMLButtonElement).disabled = size >= all;
    getElement('selection-favourite').ariaPressed = this.#countFavourites();
    for (const id of ['selection-open', 'selection-reveal']) getElement(id, HTMLButtonElement).disabled = size !== 1;
    getElement('selection-less', HTMLButtonElement).disabled = !this.#callbacks.getTerms().some(({ weight }) => weight > 0);
  }

  /**
   * Act once at a time, and say what went wrong.
   * @param {HTMLElement} control
   * @param {() => void | Promise<void>} act
   */
  async #run(control, act) {
    if (control.ariaBusy) return;
    control.ariaBusy = 'true';
    try {
      await act();
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    } finally {
      control.ariaBusy = null;
    }
  }

  /** Remove the selected pictures as the button does, for who may. */
  remove() {
    const button = getElement('selection-remove');
    if (!document.body.classList.contains('is-read-only')) this.#run(button, () => this.#removeFiles());
  }

  #clear() {
    this.#selection.clear();
  }

  get #ids() {
    return this.#selection.selected.map(({ id }) => id);
  }

  /** @param {number} weight Of the selected pictures in the query. */
  #search(weight) {
    const terms = this.#ids.map((id) => ({ what: `id:${shortenId(id)}`, weight, crop: null }));
    this.#selection.clear();
    this.#callbacks.onQuery(terms);
  }

  /**
   * Change the selected pictures, and offer to undo it.
   * @param {Change} change
   * @param {'favourites_added' | 'favourites_removed' | 'rated' | 'tagged' | 'untagged' | 'album_added'
   *   | 'album_removed' | 'hidden_now' | 'unhidden'} text
   * @param {Record<string, string>} [values]
   * @param {boolean} [isRemoval] Whether only pictures that had something count.
   */
  async #change(change, text, values = {}, isRemoval = false) {
    const ids = this.#ids;
    const { undo } = await this.#api.changeImages({ ids, ...change });
    const n = isRemoval ? new Set(undo.changes.flatMap((one) => one.ids)).size : ids.length;
    if (!n) {
      this.#callbacks.showToast(translate('nothing_removed'));
      return;
    }
    const act = () => this.#run(this.#bar, async () => {
      await this.#api.changeImages(undo);
      this.#callbacks.showToast(translate('change_undone'));
      this.#callbacks.onChange();
    });
    this.#callbacks.showToast(translate(text, { n, ...values }), { text: translate('undo'), act });
    this.#callbacks.onChange();
  }

  /** Return whether all selected pictures are favourites, or some: `mixed`. */
  #countFavourites() {
    const { selected } = this.#selection;
    if (!selected.some(({ favourite }) => favourite)) return 'false';
    return selected.every(({ favourite }) => favourite) ? 'true' : 'mixed';
  }

  /** Make all selected pictures favourites, or none of them if they all are. */
  async #toggleFavourites() {
    if (this.#countFavourites() === 'true') await this.#change({ favourite: false }, 'favourites_removed', {}, true);
    else await this.#change({ favourite: true }, 'favourites_added');
  }

  async #changeTag() {
    const answer = await this.#ask.askChange({
      title: translate('tag_title', { n: this.#selection.size }),
      label: translate('tag_label'),
      confirm: translate('add'),
      other: translate('remove_yes'),
      suggest: async (prefix) => (await this.#api.fetchTags(prefix)).tags.map((one) => one.tag),
    });
    const tag = answer?.text ?? '';
    if (answer?.isOther) await this.#change({ remove_tags: [tag] }, 'untagged', { tag }, true);
    else if (answer) await this.#change({ add_tags: [tag] }, 'tagged', { tag });
  }

  async #changeAlbum() {
    const answer = await this.#ask.askChange({
      title: translate('album_title', { n: this.#selection.size }),
      label: translate('album_label'),
      confirm: translate('add'),
      other: translate('take_out'),
      suggest: async () => (await this.#api.fetchAlbums()).albums.map(({ name }) => name),
    });
    const album = answer?.text ?? '';
    if (answer?.isOther) await this.#change({ remove_album: album }, 'album_removed', { album }, true);
    else if (answer) await this.#change({ album }, 'album_added', { album });
  }

  /** Move the files of the selected pictures to the bin, once that is confirmed, and offer to undo it. */
  async #removeFiles() {
    const ids = this.#ids;
    const isConfirmed = await this.#ask.confirm({
      title: translate('remove_files_title', { n: ids.length }),
      text: translate('remove_files_text'),
      confirm: translate('remove_files'),
      pictures: ids.slice(0, MOST_SHOWN).map((id) => getAddress(id, 'thumbnail')),
    });
    if (!isConfirmed) return;
    const { removed, failed, undo } = await this.#api.removeImages(ids);
    const text = failed.length
      ? translate('files_removed_some', { n: removed.length, failed: failed.length, path: failed[0].path })
      : translate('files_removed', { n: removed.length });
    const act = () => this.#run(this.#bar, async () => {
      await this.#api.restoreImages(undo ?? '');
      this.#callbacks.showToast(translate('change_undone'));
      this.#callbacks.onChange();
    });
    this.#callbacks.showToast(text, undo ? { text: translate('undo'), act } : undefined);
    this.#selection.clear();
    this.#callbacks.onChange();
  }

  /** @param {keyof typeof FILES} route */
  async #save(route) {
    const ids = this.#ids;
    const all = this.#selection.selected.map((item) => item.score ?? null);
    const scores = all.some((score) => score !== null) ? all : undefined;
    await this.#api.fetchGrant(); // asks for the token where it is needed, since a form cannot
    saveImages(route, ids, route === 'download' ? undefined : scores);
    this.#callbacks.showToast(translate('download_started', { n: ids.length, name: FILES[route] }));
  }

  async #copyPaths() {
    const paths = this.#selection.selected.map(({ path }) => path);
    const isCopied = await copyText(paths.join('\n'));
    this.#callbacks.showToast(translate(isCopied ? 'paths_copied' : 'copy_failed', { n: paths.length }));
  }

  async #reveal() {
    await this.#api.revealImage(this.#ids[0]);
  }
}
