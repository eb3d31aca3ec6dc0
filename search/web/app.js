// The page: it composes the parts, and goes from one route to the next.

import { Api } from './api.js';
import { DetailDialog } from './detail.js';
import { getElement, moveFocus, translateDocument } from './dom.js';
import { Grid } from './grid.js';
import { translate, translator } from './i18n.js';
import { opensElsewhere } from './keyboard.js';
import { LibraryDialog } from './library.js';
import { LoginDialog } from './login.js';
import { Placeholder } from './placeholder.js';
import { QueryPanel } from './query-panel.js';
import { Results } from './results.js';
import { HelpDialog, SettingsDialog, applyTheme } from './settings.js';
import { prepareOffline, receiveShared } from './shared.js';
import { DEFAULT_K, MAX_K, START, formatRoute, getResultKey, parseId, parseRoute, shortenId } from './route.js';
import { Store } from './store.js';
import { createToast } from './toast.js';
import { receiveUploads } from './upload.js';
import { VariantsDialog } from './variants.js';
import { Vocabulary } from './vocabulary.js';

/** @import { Answer, Image, Status } from './api.js' */
/** @import { Route } from './route.js' */
/** @import { Content } from './upload.js' */
/** @import { VariantQuery } from './variants.js' */

const LOAD_AHEAD = 5; // pictures from the end of those that are loaded
const K_STEPS = Object.freeze([DEFAULT_K, 1000, 5000, MAX_K]);
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

  /** @type {Api} */
  #api;

  #library;
  #grid;
  #variants;
  #panel;
  #detail;
  #results;

  constructor() {
    const showToast = createToast();
    /** @param {VariantQuery} query */
    const onMakeVariants = (query) => this.#variants.open(query);
    const login = new LoginDialog(() => this.#reload());
    this.#api = new Api(() => login.open(this.#api));
    new HelpDialog();
    const settings = new SettingsDialog(() => this.#handleCutOff());
    const onStatus = (/** @type {Status} */ { model }) => settings.showModel(model);
    this.#library = new LibraryDialog(this.#api, () => this.#handleLibraryChange(), onStatus);
    this.#grid = new Grid(getElement('grid'), {
      onOpen: (place) => this.#enter({ ...this.#route, see: this.#grid.items[place].id }, { y: scrollY }),
      getLink: ({ id }) => formatRoute({ ...this.#route, see: id }),
      onEnd: () => this.#results.loadMore(),
    });
    this.#variants = new VariantsDialog(this.#api, {
      onSearch: (file) => this.#receive({ files: [file] }),
      onKept: () => this.#refreshLibrary(),
      onFollow: (event) => this.#follow(event),
      countPictures: () => this.#library.status?.pictures ?? 0,
      showToast,
    });
    this.#panel = new QueryPanel(this.#api, {
      onCrop: (crop) => this.#enter({ ...this.#route, crop, see: '' }),
      onKept: (image, isShown) => this.#handleKept(image, isShown),
      onMakeVariants,
      showToast,
    });
    this.#detail = new DetailDialog(this.#api, {
      onClose: () => this.#closeDetail(),
      onStep: (by) => this.#step(by),
      onFollow: (event) => this.#follow(event),
      onMakeVariants,
    });
    const parts = {
      api: this.#api,
      store: this.#store,
      grid: this.#grid,
      panel: this.#panel,
      placeholder: this.#placeholder,
    };
    this.#results = new Results(parts, {
      onListed: () => this.#enableSteps(),
      onRecognized: (route, id, answer) => this.#handleRecognized(route, id, answer),
      createAddFolder: () => this.#createAddFolder(),
    });
    new Vocabulary(this.#api, (word) => this.#enter({ ...START, q: word }));
  }

  /** Listen, and show what the address says. */
  start() {
    history.scrollRestoration = 'manual';
    receiveUploads((content) => this.#receive(content));
    for (const link of document.querySelectorAll('a[data-route]')) {
      link.addEventListener('click', (event) => this.#follow(/** @type {MouseEvent} */ (event)));
    }
    getElement('box').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#enter({ ...START, q: this.#searchBox.value.trim() });
    });
    document.querySelector('.skip')?.addEventListener('click', (event) => {
      event.preventDefault(); // an address of its own would be another entry of the history
      getElement('results').focus();
    });
    getElement('more').addEventListener('click', () => this.#showMore());
    addEventListener('popstate', () => this.#showEntry());
    addEventListener('scroll', () => this.#saveScroll());
    this.#showEntry();
    this.#library.refresh();
    receiveShared(this.#api, (content) => this.#receive(content));
  }

  /** Show the current entry of the history. */
  #showEntry() {
    const { route, y } = history.state ?? {};
    this.#show(route ?? parseRoute(location.search), y ?? 0);
  }

  #saveScroll() {
    clearTimeout(this.#scrollTimer);
    this.#scrollTimer = setTimeout(() => {
      history.replaceState({ ...history.state, route: this.#route, y: scrollY }, '');
    }, SAVE_SCROLL_MS);
  }

  /**
   * Go to a route.
   * @param {Route} route
   * @param {{ isReplacing?: boolean, y?: number }} [options] isReplacing: instead of the present
   *   entry of the history; y: pixels to scroll to.
   */
  #enter(route, { isReplacing = false, y = 0 } = {}) {
    clearTimeout(this.#scrollTimer);
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
  #receive({ files, id, url, text, isFolder, folder }) {
    for (const dialog of document.querySelectorAll('dialog[open]:not(#login)')) {
      if (dialog instanceof HTMLDialogElement) dialog.close();
    }
    if (files) {
      const name = files.length > 1 ? translate('pictures', { n: files.length }) : files[0].name;
      const upload = this.#store.addUpload({ blobs: files, name: name || translate('query_upload') });
      this.#enter({ ...START, upload });
    } else if (id) this.#enter({ ...START, q: `id:${shortenId(id)}` });
    else if (url || text) this.#enter({ ...START, q: url ?? text ?? '' });
    else if (folder) this.#library.open(folder);
    else if (isFolder) {
      const actions = [this.#createAddFolder()];
      this.#placeholder.show('folder', translate('dropped_folder'), translate('dropped_folder_hint'), actions);
    } else this.#placeholder.show('warning', translate('dropped_nothing'), translate('dropped_nothing_hint'));
  }

  /** Load the pictures that were refused before the login. */
  #reload() {
    if (document.body.classList.contains('asking')) {
      this.#panel.adopt(null);
      this.#panel.show(this.#route, this.#store.getUpload(this.#route.upload));
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
    if (!hasSameResults) this.#searchBox.value = parseId(route.q) ? '' : route.q;
    if (!hasSameResults || this.#results.hasFailed) this.#results.load(route, y);
    if (route.see) this.#showDetail(route.see);
    else if (this.#detail.isOpen) {
      this.#detail.close();
      const place = previous ? this.#grid.find(previous) : -1;
      if (hasSameResults && place >= 0) this.#grid.focus(place);
      else getElement('results').focus({ preventScroll: true });
    }
  }

  #showMore() {
    moveFocus(getElement('more'), getElement('results'));
    const k = K_STEPS.find((step) => step > this.#route.k) ?? MAX_K;
    this.#enter({ ...this.#route, k }, { isReplacing: true, y: scrollY });
  }

  /** Show the new pictures of the library, unless somebody is reading. */
  #handleLibraryChange() {
    this.#store.invalidate();
    const isReading = this.#route.see || scrollY > innerHeight || getElement('grid').contains(document.activeElement);
    if (!isReading) this.#results.load(this.#route, scrollY);
  }

  /** Search again with another least score. */
  #handleCutOff() {
    this.#store.invalidate();
    this.#results.load(this.#route, scrollY);
  }

  #refreshLibrary() {
    this.#store.invalidate();
    this.#library.refresh();
  }

  /**
   * Go on with a picture that was put into the library. Returns what goes back.
   * @param {Image} image
   * @param {boolean} isShown
   */
  #handleKept({ id }, isShown) {
    const before = this.#route;
    this.#store.invalidate();
    if (isShown && document.body.classList.contains('asking')) {
      this.#panel.adopt(shortenId(id));
      this.#enter({ ...this.#route, q: `id:${shortenId(id)}`, upload: null }, { isReplacing: true });
    }
    this.#library.refresh();
    return () => {
      this.#refreshLibrary();
      if (parseId(this.#route.q) !== shortenId(id)) return;
      this.#panel.adopt(null);
      this.#enter(before, { isReplacing: true });
    };
  }

  /**
   * Give an uploaded picture the address that it has in the library.
   * @param {Route} route
   * @param {string} id
   * @param {Answer} answer
   */
  #handleRecognized(route, id, answer) {
    if (route !== this.#route) return;
    this.#route = { ...route, q: `id:${shortenId(id)}`, upload: null };
    this.#store.addAnswer(this.#route, answer);
    history.replaceState({ ...history.state, route: this.#route }, '', formatRoute(this.#route));
    this.#panel.adopt(shortenId(id));
    this.#panel.show(this.#route);
    this.#grid.updateLinks();
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
    if (place < 0 || !next) return;
    this.#route = { ...this.#route, see: next.id };
    history.replaceState({ ...history.state, route: this.#route }, '', formatRoute(this.#route));
    this.#showDetail(next.id);
  }

  /** @param {string} id */
  #showDetail(id) {
    const place = this.#grid.find(id);
    if (place >= this.#grid.items.length - LOAD_AHEAD) this.#results.loadMore();
    this.#enableSteps();
    this.#detail.show(id, this.#grid.items[place]);
  }

  #enableSteps() {
    if (!this.#route.see) return;
    const place = this.#grid.find(this.#route.see);
    this.#detail.enableSteps({ hasPrevious: place > 0, hasNext: place >= 0 && place < this.#grid.items.length - 1 });
  }
}

applyTheme();
translateDocument(translator);
prepareOffline();
new App().start();
