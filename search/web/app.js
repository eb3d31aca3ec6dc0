// The page: from an address to what is shown, and from what is done to the next address.

import * as api from './api.js';
import { Detail } from './detail.js';
import { Library } from './folders.js';
import { receive } from './give.js';
import { Grid } from './grid.js';
import { login } from './login.js';
import { Maker } from './make.js';
import { byId, leave } from './node.js';
import { QueryPanel } from './query.js';
import { FEW, MOST, idOf, isWords, key, read, short, terms, write } from './route.js';
import { reading, suggest } from './suggest.js';
import { clear, complain, emptiness, state } from './states.js';
import { say, translate } from './words.js';

const START = { q: '', crop: null, k: FEW, see: '', upload: null };
const REMEMBERED = 12; // answers, so that going back takes no time
const NEAR = 5; // pictures to the end of those that are loaded
const STEPS = [FEW, 1000, 5000, MOST];

let route = null;
let leaving = false; // the picture that is shown large, by going back
let searching = null;
let browsed = null; // {items, page, pages, total} of the start; old: there are others by now
let failed = false; // the last answer
const uploads = new Map(); // number -> {blobs, name}
const answers = new Map(); // key of a route -> answer

translate(document);
api.onLocked(() => login(reload));
history.scrollRestoration = 'manual';

const grid = new Grid(byId('grid'), {
  open: (place) => see(grid.items[place].id),
  link: (item) => write({ ...route, see: item.id }),
  end: () => browse(),
});
const maker = new Maker({
  search: (file) => take({ files: [file] }),
  kept: () => {
    forget();
    library.refresh().catch(() => {});
  },
  go: follow,
  countPictures: () => library.status?.pictures,
});
const make = (given) => maker.open(given);
const detail = new Detail({ close: unsee, step, go: follow, make });
const panel = new QueryPanel({
  crop: (crop) => enter({ ...route, crop, see: '' }),
  kept: (found, shown) => {
    forget();
    if (shown && document.body.classList.contains('asking')) {
      panel.adopt(short(found.id));
      enter({ ...route, q: `id:${short(found.id)}`, upload: null }, true);
    }
    library.refresh().catch(() => {});
  },
  make,
});
const library = new Library(() => {
  forget();
  const reading = route.see || scrollY > innerHeight || byId('grid').contains(document.activeElement);
  if (!reading) run(route, scrollY); // who reads on is not disturbed
});

receive(take);
suggest((q) => enter({ ...START, q }));
for (const one of document.querySelectorAll('a[data-route]')) one.addEventListener('click', follow);
byId('box').addEventListener('submit', (event) => {
  event.preventDefault();
  enter({ ...START, q: byId('words').value.trim() });
});
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault(); // an address of its own would be another place in the history
  byId('found').focus();
});
byId('more').addEventListener('click', (event) => {
  leave(event.currentTarget, byId('found'));
  enter({ ...route, k: STEPS.find((step) => step > route.k) ?? MOST }, true, scrollY);
});
addEventListener('popstate', (event) => {
  show(event.state?.route ?? read(location.search), event.state?.y ?? 0);
});
addEventListener('scroll', () => {
  clearTimeout(uploads.timer);
  uploads.timer = setTimeout(() => {
    history.replaceState({ ...history.state, route, y: scrollY }, '');
  }, 150);
});
show(history.state?.route ?? read(location.search), history.state?.y ?? 0);
library.refresh().catch(() => {}); // what is wrong shows where the pictures would be

/** Go somewhere, as a new entry of the history or instead of this one. */
function enter(next, replace = false, y = 0) {
  clearTimeout(uploads.timer);
  const entry = { route: next, y, opened: Boolean(next.see) && !replace };
  history[replace ? 'replaceState' : 'pushState'](entry, '', write(next));
  show(next, y);
}

/** A link within the page. */
function follow(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  enter(read(new URL(event.currentTarget.href).search));
}

/** What was dropped, pasted or chosen. */
function take({ files, id, url, text, folder }) {
  for (const dialog of document.querySelectorAll('dialog[open]:not(#login)')) dialog.close();
  if (files) {
    const upload = Math.max(Date.now(), ...uploads.keys()) + 1; // none that the history knows
    const name = files.length > 1 ? say('pictures', { n: files.length }) : files[0].name;
    uploads.set(upload, { blobs: files, name: name || say('query_upload') });
    enter({ ...START, upload });
  } else if (id) enter({ ...START, q: `id:${short(id)}` });
  else if (url || text) enter({ ...START, q: url ?? text });
  else if (folder) state('folder', say('a_folder'), say('a_folder_hint'), [opener()]);
  else state('warning', say('not_picture'), say('not_picture_hint'));
}

/** Pictures that were refused before somebody logged in are asked for again. */
function reload() {
  if (document.body.classList.contains('asking')) {
    panel.adopt(null);
    panel.show(route, uploads.get(route.upload));
  }
  if (route.see) look(route.see);
}

/** Show a route; of the one that is shown, change what differs. */
function show(next, y) {
  const same = route && key(route) === key(next);
  const was = route?.see;
  route = next;
  leaving = false;
  if (!same) byId('words').value = idOf(next.q) ? '' : next.q;
  if (!same || failed) run(next, y);
  if (next.see) look(next.see);
  else if (detail.isOpen) {
    detail.close();
    const place = grid.items.findIndex((item) => was && item.id.startsWith(was));
    if (same && place >= 0) grid.focus(place);
    else byId('found').focus({ preventScroll: true });
  }
}

async function run(next, y = 0) {
  searching?.abort();
  searching = new AbortController();
  const asking = Boolean(next.q) || next.upload !== null;
  document.body.classList.toggle('asking', asking);
  document.body.classList.toggle('alone', isWords(next));
  byId('more').hidden = true;
  failed = false;
  explain('');
  clear();
  byId('found-title').textContent = say(asking ? 'results' : 'newest', { n: 0 });
  if (!asking) document.title = say('title');
  if (asking) await answer(next, y, searching.signal);
  else await start(y, searching.signal);
}

/** Search, and show what is found. */
async function answer(next, y, signal) {
  const upload = uploads.get(next.upload);
  if (next.upload !== null && !upload) {
    document.body.classList.remove('asking');
    list([], true);
    state('image', say('lost_upload'), say('lost_upload_hint'));
    return;
  }
  panel.show(next, upload);
  busy(say('searching'));
  try {
    const found = answers.get(key(next)) ?? (await api.search(terms(next, upload), next.k, upload?.blobs ?? [], signal));
    remember(key(next), found);
    list(found.hits, true, y);
    const took = say('took', { n: Math.round(found.took_ms.total) });
    heading(say('results', { n: found.hits.length }), `${took} · ${found.model}`);
    byId('more').hidden = found.hits.length < next.k || next.k >= MOST;
    explain(found.hits.length ? reading(found) : '');
    if (!found.hits.length) state('search', say('nothing'), reading(found));
    if (upload) await recognise(upload, found, next);
  } catch (error) {
    if (error.name !== 'AbortError' && !signal.aborted) fail(error);
  }
}

/** A dropped picture that the library holds has an address: that of the library's. */
async function recognise(upload, found, shown) {
  const [blob, another] = upload.blobs;
  if (another || !crypto.subtle) return; // without TLS, off this machine: it can still be kept
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));
  const id = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  if (shown !== route || !found.hits.some((hit) => hit.id === id)) return;
  route = { ...route, q: `id:${short(id)}`, upload: null };
  remember(key(route), found);
  history.replaceState({ ...history.state, route }, '', write(route));
  panel.adopt(short(id));
  panel.show(route, null);
  refreshLinks();
}

function refreshLinks() {
  for (const [place, tile] of grid.tiles) tile.firstChild.href = write({ ...route, see: grid.items[place].id });
}

/** The library's newest pictures, page by page. */
async function start(y, signal) {
  if (!browsed || browsed.old) {
    busy(say('loading'));
    try {
      const { images, page, pages, total } = await api.pictures(1, signal);
      browsed = { items: images, page, pages, total };
    } catch (error) {
      if (error.name !== 'AbortError') fail(error);
      return;
    }
  }
  list(browsed.items, false, y);
  heading(say('newest'), say('pictures', { n: browsed.total }));
  document.body.classList.toggle('empty', !browsed.total);
  if (!browsed.total) emptiness([opener()]);
}

/** The next page of the start, if there is one. */
async function browse() {
  const from = browsed;
  if (grid.items !== from?.items || from.page >= from.pages || from.loading) return;
  from.loading = true;
  try {
    const { images, page } = await api.pictures(from.page + 1, searching.signal);
    if (grid.items !== from.items) return;
    const known = new Set(from.items.map((item) => item.id)); // some came since the first page
    grid.add(images.filter((item) => !known.has(item.id)));
    Object.assign(from, { items: grid.items, page });
    from.loading = false;
    if (route.see) detail.ends(...around(route.see));
    grid.nudge();
  } catch {
    // scrolling on asks again
  } finally {
    from.loading = false;
  }
}

function list(items, scored, y = 0) {
  document.body.classList.remove('busy', 'empty');
  grid.show(items, scored);
  scrollTo(0, y);
  if (route.see) detail.ends(...around(route.see));
}

/** Say how the words of a query were read; nothing where there is nothing to say. */
function explain(text) {
  byId('understood').textContent = text;
  byId('understood').hidden = !text;
}

function busy(text) {
  document.body.classList.add('busy');
  byId('summary').textContent = text;
}

function heading(title, about) {
  byId('found-title').textContent = title;
  byId('summary').textContent = about;
}

function fail(error) {
  failed = true;
  list([], true);
  heading('', '');
  document.body.classList.toggle('alone', !route.crop); // a crop that is refused can be drawn anew
  const keep = { text: say('keep'), act: () => panel.keep() };
  if (error.status === 404 && library.status?.pictures === 0) {
    emptiness(panel.source ? [opener(), keep] : [opener()]);
  } else complain(error, () => run(route));
}

function remember(name, found) {
  answers.delete(name);
  answers.set(name, found);
  if (answers.size > REMEMBERED) answers.delete(answers.keys().next().value);
}

/** The library has changed: ask again next time. */
function forget() {
  answers.clear();
  if (browsed) browsed.old = true;
}

function opener() {
  return { text: say('add_folder'), act: () => library.open() };
}

function see(id) {
  enter({ ...route, see: id }, false, scrollY);
}

function unsee() {
  if (leaving || !route.see) return;
  leaving = true;
  if (history.state?.opened) history.back();
  else enter({ ...route, see: '' }, true, scrollY);
}

function placeOf(id) {
  return grid.items.findIndex((item) => item.id.startsWith(id));
}

function step(by) {
  const place = placeOf(route.see);
  const next = grid.items[place + by];
  if (place < 0 || !next) return;
  const entry = { ...history.state, route: { ...route, see: next.id } };
  history.replaceState(entry, '', write(entry.route));
  route = entry.route;
  look(next.id);
}

function look(id) {
  if (placeOf(id) >= grid.items.length - NEAR) browse();
  detail.ends(...around(id));
  detail.show(id, grid.items[placeOf(id)]);
}

/** Whether there is a picture before and one after. */
function around(id) {
  const place = placeOf(id);
  return [place > 0, place >= 0 && place < grid.items.length - 1];
}
