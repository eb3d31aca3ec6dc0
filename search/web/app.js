// The page: it composes the parts, and goes from one route to the next.

import { AnswerControls } from './answer-controls.js';
import { Api } from './api.js';
import { AskDialog } from './ask.js';
import { showBookmarklet } from './bookmarklet.js';
import { CollectionChoice, keepCollection } from './collection-choice.js';
import { describeCondition } from './conditions.js';
import { DetailDialog } from './detail.js';
import { getElement, moveFocus, translateDocument } from './dom.js';
import { DuplicatesView } from './duplicates.js';
import { Finding } from './finding.js';
import { Grid } from './grid.js';
import { translate, translator } from './i18n.js';
import { opensElsewhere } from './keyboard.js';
import { LibraryDialog } from './library.js';
import { LoginDialog } from './login.js';
import { Placeholder } from './placeholder.js';
import { QueryPanel } from './query-panel.js';
import { isTextQuery } from './query.js';
import { formatProblem, toProblem } from './problems.js';
import { Results } from './results.js';
import { HelpDialog, SettingsDialog, applyTheme } from './settings.js';
import { prepareOffline, receiveShared } from './shared.js';
import {
  DEFAULT_K, MAX_K, START, formatRoute, getBoxText, getResultKey, parseRoute, routeToPicture,
  routeToQuery, shortenId,
} from './route.js';
import { SavedSearches } from './saved-searches.js';
import { SelectionBar } from './selection-bar.js';
import { Store } from './store.js';
import { createToast } from './toast.js';
import { receiveUploads } from './upload.js';
import { VariantsDialog } from './variants.js';
import { SuggestBox } from './suggest-box.js';
import { Vocabulary } from './vocabulary.js';

/** @import { Answer, Image, Item, Status } from './api.js' */
/** @import { QueryTerm, Route } from './route.js' */
/** @import { Content } from './upload.js' */
/** @import { VariantQuery } from './variants.js' */

const LOAD_AHEAD = 5; // pictures from the end of those that are loaded
const K_STEPS = Object.freeze([DEFAULT_K, 1000, 5000, MAX_K]);
const MAX_TERMS = 64; // of a query
const MAX_SELECTED = 10000; // pictures that the server changes at once
const SAVE_SCROLL_MS = 150;

class App {
  /** @type {Route} */
  #route = START;

  /** Whether a route is shown. */
  #isStarted = false;

  /** Whether the picture that is shown large is being closed by going back. */
  #isClosing = false;

  #scrollTimer = 0;
  #store = new Store();
  #placeholder = new Placeholder();
  #searchBox = getElement('words', HTMLInputElement);
  #suggestBox;

  /** @type {Api} */
  #api;

  #choice;
  #library;
  #grid;
  #selectionBar;
  #variants;
  #panel;
  #detail;
  #finding;
  #duplicates;
  #results;
  #saved;

  constructor() {
    const showToast = createToast();
    /** @param {VariantQuery} query */
    const onMakeVariants = (query) => this.#variants.open(query);
    const login = new LoginDialog(() => this.#reload());
    this.#api = new Api(() => login.open(this.#api));
    new HelpDialog();
    showBookmarklet();
    const settings = new SettingsDialog(() => this.#searchAgain());
    this.#choice = new CollectionChoice((where) => this.#enter({ ...this.#route, where, from: '', see: '' }));
    const onStatus = (/** @type {Status} */ status) => {
      settings.showStatus(status);
      this.#choice.offer(status.roots);
    };
    this.#library = new LibraryDialog(this.#api, () => this.#handleLibraryChange(), onStatus);
    this.#grid = new Grid(getElement('grid'), {
      onOpen: (place) => this.#enter({ ...this.#route, see: this.#grid.items[place].id }, { y: scrollY }),
      getLink: ({ id }) => formatRoute({ ...this.#route, see: id }),
      onEnd: () => this.#results.loadMore(),
      onSelect: () => this.#selectionBar.show(),
      onSelectAll: () => this.#selectAll(),
      onDelete: () => this.#selectionBar.remove(),
      onFavourite: (item) => this.#toggleFavourite(item, showToast),
    });
    const ask = new AskDialog();
    this.#selectionBar = new SelectionBar(this.#api, ask, this.#grid.selection, {
      onQuery: (terms) => this.#addTerms(terms),
      onOpen: ({ id }) => this.#enter({ ...this.#route, see: id }, { y: scrollY }),
      onChange: () => this.#reloadResults(),
      onSelectAll: () => this.#selectAll(),
      countPictures: () => this.#results.total,
      getTerms: () => this.#route.terms,
      showToast,
    });
    this.#variants = new VariantsDialog(this.#api, {
      onSearch: (file) => this.#receive({ files: [file] }),
      onKept: () => this.#refreshLibrary(),
      onFollow: (event) => this.#follow(event),
      countPictures: () => this.#library.status?.pictures ?? 0,
      showToast,
    });
    const controls = new AnswerControls(
      (change) => this.#enter({ ...this.#route, ...change, see: '' }), (name) => this.#markSeen(name),
    );
    this.#panel = new QueryPanel(this.#api, this.#store.files, {
      onChange: (terms) => this.#enter({ ...this.#route, terms, see: '' }),
      onKept: (image, what) => this.#handleKept(image, what),
      onMakeVariants,
      showToast,
    });
    this.#detail = new DetailDialog(this.#api, {
      onClose: () => this.#closeDetail(),
      onStep: (by) => this.#step(by),
      onShow: (id) => this.#see(id),
      onFollow: (event) => this.#follow(event),
      onMakeVariants,
      onChange: ({ id, favourite = false }) => {
        this.#grid.setFavourite(id, favourite);
        this.#store.invalidate();
      },
      getQuery: (what) => this.#panel.getPicture(what),
      getLinkToSimilar: (id) => formatRoute({ ...routeToPicture(id), where: keepCollection(this.#route.where) }),
      showToast,
    });
    this.#finding = new Finding(this.#api, ask, this.#grid, {
      onChange: (change) => this.#enter({ ...this.#route, ...change, see: '' }),
      onEdit: () => this.#reloadResults(),
      showToast,
    });
    this.#duplicates = new DuplicatesView(this.#api, ask, {
      onChange: (change) => this.#enter({ ...this.#route, ...change, see: '' }),
      onFollow: (event) => this.#follow(event),
      onEdit: () => this.#refreshLibrary(),
      showToast,
    });
    this.#saved = new SavedSearches(this.#api, ask, this.#store.files, {
      onOpen: (route) => this.#openSaved(route),
      onSeen: (name) => this.#leaveNew(name, ''),
      onRename: (name, other) => this.#leaveNew(name, other),
      getName: () => this.#nameQuery(),
      showToast,
    });
    const parts = {
      api: this.#api,
      store: this.#store,
      grid: this.#grid,
      panel: this.#panel,
      placeholder: this.#placeholder,
    };
    this.#results = new Results(parts, {
      onListed: () => this.#handleListed(),
      onLoading: (route) => this.#handleLoading(route, controls),
      onRecognized: (route, id, answer) => this.#handleRecognized(route, id, answer),
      onLost: (route) => {
        showToast(translate('restored_lost'));
        this.#enter(route, { isReplacing: true });
      },
      createAddFolder: () => this.#createAddFolder(),
    });
    new Vocabulary(this.#api, (word) => this.#search(word));
    this.#suggestBox = new SuggestBox(this.#api, (query) => this.#search(query));
  }

  /** Listen, and show what the address says. */
  start() {
    history.scrollRestoration = 'manual';
    receiveUploads((content) => this.#receive(content));
    for (const link of document.querySelectorAll('a[data-route]')) {
      link.addEventListener('click', (event) => {
        this.#follow(/** @type {MouseEvent} */ (event));
        if (event.defaultPrevented) link.closest('dialog')?.close();
      });
    }
    getElement('box').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#suggestBox.close();
      this.#suggestBox.remember(this.#searchBox.value);
      this.#search(this.#searchBox.value.trim());
    });
    document.querySelector('.skip-link')?.addEventListener('click', (event) => {
      event.preventDefault(); // an address of its own would be another entry of the history
      this.#focusPictures();
    });
    getElement('more').addEventListener('click', () => this.#showMore());
    addEventListener('popstate', () => this.#showEntry());
    addEventListener('scroll', () => this.#saveScroll());
    this.#showEntry();
    this.#library.refresh();
    this.#saved.refresh();
    receiveShared(this.#api, (content) => this.#receive(content));
  }

  /** Show the current entry of the history. */
  #showEntry() {
    const { route, y } = history.state ?? {};
    this.#show(route?.terms ? route : parseRoute(location.search), y ?? 0);
  }

  #saveScroll() {
    clearTimeout(this.#scrollTimer);
    this.#scrollTimer = setTimeout(() => {
      history.replaceState({ ...history.state, route: this.#route, y: scrollY }, '');
    }, SAVE_SCROLL_MS);
  }

  /**
   * Go to a route.
   * @param {Route} next
   * @param {{ isReplacing?: boolean, y?: number }} [options] isReplacing: instead of the present
   *   entry of the history; y: pixels to scroll to.
   */
  #enter(next, { isReplacing = false, y = 0 } = {}) {
    clearTimeout(this.#scrollTimer);
    const isOther = getResultKey(next) !== getResultKey(this.#route);
    const isSameNew = next.newIn === this.#route.newIn; // of a search that is another one now
    const route = isOther && isSameNew ? { ...next, newIn: '' } : next;
    const entry = { route, y, isOpened: Boolean(route.see) && !isReplacing };
    if (isReplacing) history.replaceState(entry, '', formatRoute(route));
    else history.pushState(entry, '', formatRoute(route));
    this.#show(route, y);
  }

  /**
   * Follow a link within the page, unless another tab is wanted.
   * @param {MouseEvent} event
   */
  #follow(event) {
    if (opensElsewhere(event) || !(event.currentTarget instanceof HTMLAnchorElement)) return;
    event.preventDefault();
    this.#enter(parseRoute(new URL(event.currentTarget.href).search));
  }

  /**
   * Search by what was brought to the page.
   * @param {Content} content
   */
  #receive({ files, id, url, text, isFolder, folder, isAdded }) {
    for (const dialog of document.querySelectorAll('dialog[open]:not(#login)')) {
      if (dialog instanceof HTMLDialogElement) dialog.close();
    }
    if (files) {
      const numbers = this.#store.files.add(files);
      this.#receiveTerms(numbers.map((number) => `file:${number}`), isAdded);
    } else if (id) this.#receiveTerms([`id:${shortenId(id)}`], isAdded);
    else if (url || text) this.#receiveTerms([url ?? text ?? ''], isAdded);
    else if (folder) this.#library.open(folder);
    else if (isFolder) {
      const actions = [this.#createAddFolder()];
      this.#placeholder.show('folder', translate('dropped_folder'), translate('dropped_folder_hint'), actions);
    } else this.#placeholder.show('warning', translate('dropped_nothing'), translate('dropped_nothing_hint'));
  }

  /**
   * Search by pictures, or add them to the query.
   * @param {readonly string[]} whats
   * @param {boolean} [isAdded]
   */
  #receiveTerms(whats, isAdded = false) {
    const terms = whats.map((what) => ({ what, weight: 1, crop: null }));
    if (isAdded) this.#addTerms(terms);
    else this.#enter({ ...START, terms, where: keepCollection(this.#route.where) });
  }

  /**
   * Search by words, a URL or `id:ID`, within the present collection.
   * @param {string} what Empty: the start page.
   */
  #search(what) {
    this.#enter({ ...routeToQuery(what), where: keepCollection(this.#route.where) });
  }

  /**
   * Add terms to the query. Those that it has already get the new weight.
   * @param {readonly QueryTerm[]} terms
   */
  #addTerms(terms) {
    const added = new Set(terms.map(({ what }) => what));
    const kept = this.#route.terms.filter(({ what }) => !added.has(what));
    this.#enter({ ...this.#route, terms: [...kept, ...terms].slice(0, MAX_TERMS), see: '' });
  }

  /** @param {Route} route */
  #openSaved(route) {
    getElement('finder-sheet', HTMLDialogElement).close();
    this.#store.invalidate();
    if (getResultKey(route) === getResultKey(this.#route)) this.#load(0);
    else this.#enter(route);
  }

  /** @param {string} name Of the saved search whose new pictures are shown. */
  #markSeen(name) {
    const answer = this.#store.getAnswer(this.#route);
    if (answer?.newest !== undefined) this.#saved.markSeen(name, answer.newest);
  }

  /**
   * Go on from the new pictures of a saved search, if they are shown.
   * @param {string} name
   * @param {string} other Its new name; empty for the whole search.
   */
  #leaveNew(name, other) {
    this.#store.invalidate();
    if (this.#route.newIn !== name) return;
    const route = { ...this.#route, newIn: other };
    this.#enter(route.terms.length || route.where.length || other ? route : START, { isReplacing: true });
  }

  /** Return a name for what is searched for. */
  #nameQuery() {
    const { terms, where } = this.#route;
    if (terms.length) return isTextQuery(this.#route) ? terms.map(({ what }) => what).join(' + ') : (getElement('query-name').textContent ?? '');
    return where.map((condition) => describeCondition(condition, translator)).join(', ');
  }

  /** Load the pictures that were refused before the login. */
  #reload() {
    this.#saved.refresh();
    if (this.#route.terms.length) {
      this.#panel.adopt(null);
      this.#panel.show(this.#route.terms);
    }
    if (this.#route.see) this.#showDetail(this.#route.see);
  }

  /**
   * Show a route. If it has the results of the present one, only what differs changes.
   * @param {Route} route
   * @param {number} y Pixels to scroll to.
   */
  #show(route, y) {
    const hasSameResults = this.#isStarted && getResultKey(this.#route) === getResultKey(route);
    const previous = this.#route.see;
    this.#route = route;
    this.#isStarted = true;
    this.#isClosing = false;
    if (!hasSameResults) this.#searchBox.value = getBoxText(route);
    this.#choice.show(route.where);
    const hasFailed = this.#results.hasFailed && !route.duplicates;
    if (!hasSameResults || hasFailed) this.#load(y);
    if (route.see) this.#showDetail(route.see);
    else if (this.#detail.isOpen) {
      this.#detail.close();
      const place = previous ? this.#grid.find(previous) : -1;
      if (hasSameResults && place >= 0) this.#grid.focus(place);
      else this.#focusPictures();
    }
  }

  /**
   * Request what the route has.
   * @param {number} y Pixels to scroll to.
   */
  #load(y) {
    if (this.#route.duplicates) {
      this.#results.stop();
      this.#duplicates.show(this.#route);
      return;
    }
    if (this.#duplicates.isShown) this.#duplicates.hide();
    this.#results.load(this.#route, y);
  }

  /** Give the focus to what the page lists. */
  #focusPictures() {
    if (this.#route.duplicates) this.#duplicates.focus();
    else getElement('results').focus({ preventScroll: true });
  }

  #showMore() {
    moveFocus(getElement('more'), getElement('results'));
    const k = K_STEPS.find((step) => step > this.#route.k) ?? MAX_K;
    this.#enter({ ...this.#route, k }, { isReplacing: true, y: scrollY });
  }

  /** Show the new pictures of the library, unless somebody is reading. */
  #handleLibraryChange() {
    this.#store.invalidate();
    this.#finding.invalidate();
    this.#saved.refresh();
    const isReading = this.#route.see || this.#route.duplicates || scrollY > innerHeight || getElement('grid').contains(document.activeElement);
    if (!isReading) this.#load(scrollY);
  }

  /** Search again, as the reader's settings say now. */
  #searchAgain() {
    this.#store.invalidate();
    if (!this.#route.duplicates) this.#load(scrollY);
  }

  /** Select all pictures of the list, also those that are not loaded yet. */
  async #selectAll() {
    await this.#results.loadAll(MAX_SELECTED);
    this.#grid.selection.selectAll();
  }

  /**
   * Make a picture a favourite, or none any more.
   * @param {Item} item
   * @param {ReturnType<typeof createToast>} showToast
   */
  async #toggleFavourite({ id, favourite = false }, showToast) {
    this.#grid.setFavourite(id, !favourite);
    try {
      await this.#api.changeImages({ ids: [id], favourite: !favourite });
      this.#store.invalidate();
      this.#finding.invalidate();
    } catch (error) {
      this.#grid.setFavourite(id, favourite);
      showToast(formatProblem(toProblem(error), translator));
    }
  }

  /** Ask for the results anew, since pictures were changed. */
  #reloadResults() {
    this.#refreshLibrary();
    this.#load(scrollY);
  }

  #refreshLibrary() {
    this.#store.invalidate();
    this.#finding.invalidate();
    this.#library.refresh();
  }

  /**
   * Go on with a picture that was put into the library. Returns what goes back.
   * @param {Image} image
   * @param {string} what What it was in the query.
   */
  #handleKept({ id }, what) {
    const before = this.#route;
    const isShown = before.terms.some((term) => term.what === what);
    this.#store.invalidate();
    if (isShown) {
      this.#panel.adopt(shortenId(id));
      this.#enter(this.#nameTerm(before, what, id), { isReplacing: true });
    }
    this.#library.refresh();
    return () => {
      this.#refreshLibrary();
      if (!this.#route.terms.some((term) => term.what === `id:${shortenId(id)}`)) return;
      this.#panel.adopt(null);
      this.#enter(before, { isReplacing: true });
    };
  }

  /**
   * Return a route in which a term is a picture of the library.
   * @param {Route} route
   * @param {string} what
   * @param {string} id
   * @returns {Route}
   */
  #nameTerm(route, what, id) {
    const terms = route.terms.map((term) => (term.what === what ? { ...term, what: `id:${shortenId(id)}` } : term));
    return { ...route, terms };
  }

  /**
   * Give an uploaded picture the address that it has in the library.
   * @param {Route} route
   * @param {string} id
   * @param {Answer} answer
   */
  #handleRecognized(route, id, answer) {
    if (route !== this.#route) return route;
    this.#route = this.#nameTerm(route, route.terms[0].what, id);
    this.#store.addAnswer(this.#route, answer);
    history.replaceState({ ...history.state, route: this.#route }, '', formatRoute(this.#route));
    this.#panel.adopt(shortenId(id));
    this.#panel.show(this.#route.terms);
    this.#grid.updateLinks();
    return this.#route;
  }

  #createAddFolder() {
    return { text: translate('add_folder'), act: () => this.#library.open() };
  }

  #closeDetail() {
    if (this.#isClosing || !this.#route.see) return;
    this.#isClosing = true;
    if (history.state?.isOpened) history.back();
    else this.#enter({ ...this.#route, see: '' }, { isReplacing: true, y: scrollY });
  }

  /**
   * Show the picture before or after the one that is shown large.
   * @param {number} by -1 or 1
   */
  #step(by) {
    const place = this.#grid.find(this.#route.see);
    const next = this.#grid.items[place + by];
    if (place >= 0 && next) this.#see(next.id);
  }

  /**
   * Show another picture in place of the one that is shown large.
   * @param {string} id
   */
  #see(id) {
    this.#route = { ...this.#route, see: id };
    history.replaceState({ ...history.state, route: this.#route }, '', formatRoute(this.#route));
    this.#showDetail(id);
  }

  /** @param {string} id */
  #showDetail(id) {
    const place = this.#grid.find(id);
    if (place >= this.#grid.items.length - LOAD_AHEAD) this.#results.loadMore();
    this.#setNeighbours();
    this.#detail.show(id, this.#grid.items[place]);
  }

  /**
   * @param {Route} route
   * @param {AnswerControls} controls
   */
  #handleLoading(route, controls) {
    controls.show(route);
    this.#saved.show(route);
    this.#finding.show(route);
  }

  #handleListed() {
    this.#setNeighbours();
    this.#selectionBar.show(); // what is selected may have other marks
    if (this.#route.see) this.#detail.setEvidence(this.#grid.items[this.#grid.find(this.#route.see)]);
    this.#finding.handleListed();
  }

  #setNeighbours() {
    if (!this.#route.see) return;
    const place = this.#grid.find(this.#route.see);
    const { items } = this.#grid;
    this.#detail.setNeighbours({ previous: items[place - 1], next: place < 0 ? undefined : items[place + 1] });
  }
}

applyTheme();
translateDocument(translator);
prepareOffline();
new App().start();
