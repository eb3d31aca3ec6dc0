// The HTTP API.

import { getStorage, readPreferences } from './preferences.js';
import { Problem, isAbort } from './problems.js';

/** @import { Query } from './query.js' */
/** @import { Limits } from './noise-scale.js' */

/** Corners of a picture in another one, in shares of the other's sides. @typedef {[number, number][]} Outline */

/**
 * What a close comparison of a hit with the query shows, as docs/search.md has it.
 * @typedef {object} Evidence
 * @property {'edited' | 'photographed_again' | 'alike'} verdict
 * @property {number} query_overlap
 * @property {number} hit_overlap
 * @property {Outline | null} query_outline The hit in the query.
 * @property {Outline | null} hit_outline The query in the hit.
 * @property {boolean} mirrored
 * @property {number | null} [term] Place of the picture of the query that it was compared with in the answer's terms.
 * @property {string} [what] What that picture is in the route. The page adds it.
 */

/**
 * What a list of pictures needs. score: of hits only, as what a comparison shows; copies: ids of those that were folded
 * into it.
 * @typedef {object} Item
 * @property {string} id
 * @property {string} path
 * @property {number} width
 * @property {number} height
 * @property {boolean} low_content
 * @property {boolean} [favourite]
 * @property {{ name: string, score: number }[]} [labels] Of lists only: what the model sees, most probable first.
 * @property {number} [score]
 * @property {string[]} [copies]
 * @property {number | null} [time] Of a frame of a film, in seconds from the start.
 * @property {'identical' | 'copy' | 'similar' | null} [kind]
 * @property {number | null} [probability]
 * @property {Evidence | null} [evidence]
 */

/** @typedef {Item & { score: number }} Hit */

/**
 * A frame of a film. time: in seconds from the start.
 * @typedef {{ id: string, time: number }} Moment
 */
/** @typedef {{ word: string, also: string[] }} KnownWord */
/** @typedef {{ model: string, words: KnownWord[], any_words: boolean }} Words */

/**
 * How a text was read.
 * @typedef {object} Reading
 * @property {string[]} words
 * @property {string[]} names
 * @property {string[]} labels
 * @property {string[]} unknown
 * @property {string[]} suggestions
 * @property {'unknown_words' | 'word_in_no_picture' | null} advice_code
 * @property {number | null} least_probability From which on a picture shows the word; null if scores are cosines.
 */

/**
 * The answer to a query. problems: why pictures of the query were left out, by what they are;
 * isCompared: its hits were compared closely. The page adds both.
 * @typedef {object} Answer
 * @property {ReadonlyMap<string, Problem>} [problems]
 * @property {boolean} [isCompared]
 * @property {string} model
 * @property {{ total: number }} took_ms
 * @property {{ terms: { image?: unknown }[] }} query
 * @property {Reading[]} understood
 * @property {boolean} low_content
 * @property {{ term: number, page: string, picture: string | null }[]} pages
 * @property {Hit[]} hits
 * @property {number} [newest] Of a saved search: what to mark as seen.
 */

/**
 * A search under a name, as docs/search.md has it. created, seen: seconds since 1970.
 * @typedef {{
 *   name: string, query: import('./saved-query.js').SavedQuery, created: number, seen: number, newest: number,
 * }} SavedSearch
 */

/**
 * A picture of the library.
 * @typedef {Item & {
 *   paths: string[], type: string, bytes: number, taken: string | null, camera: string | null,
 *   latitude: number | null, longitude: number | null, palette: string[],
 *   exif: Record<string, unknown>, tags: string[], favourite?: boolean, rating?: number | null,
 *   hidden?: boolean, caption?: string | null, caption_origin?: string | null, albums?: { id: string, name: string }[],
 *   labels: { name: string, score: number }[], has_text: boolean | null, time: number | null,
 *   truncated: boolean, original_name: string | null, source_url: string | null, page: string | null,
 * }} Image
 */

/**
 * A change of what people say of pictures, as docs/api.md has it.
 * @typedef {object} Change
 * @property {string[]} [add_tags]
 * @property {string[]} [remove_tags]
 * @property {boolean} [favourite]
 * @property {number | null} [rating]
 * @property {boolean} [hidden]
 * @property {string | null} [caption]
 * @property {string} [album]
 * @property {string} [remove_album]
 */

/** @typedef {{ total: number, next: string | null, images: Image[] }} Page */
/**
 * Where a picture comes from, as docs/sites.md has it.
 * @typedef {{
 *   id: string, paths: string[], pages: { page: string, title: string, text: string }[],
 *   downloads: { path: string, url: string | null, referrer: string | null, by: string }[],
 *   credits: { name: string, value: string, by: string }[],
 *   content_credentials: { generator: string | null, title: string | null, actions: string[] } | null,
 *   source_url: string | null, original_name: string | null, camera: string | null,
 *   engines: { name: string, url: string }[], problem: string | null,
 * }} Sources
 */
/**
 * A value that pictures have. where: its condition.
 * @typedef {{ value: string, count: number, where: string }} Facet
 */
/** @typedef {{ total: number, fields: Record<string, Facet[]> }} Facets */
/** @typedef {{ path: string, count: number, folders: boolean }} FolderCount */
/** @typedef {{ id: string, name: string, count: number }} Album */
/**
 * A line of text in a picture. box: its corners, in shares of the picture.
 * @typedef {{ text: string, confidence: number, box: [number, number][] }} TextLine
 */
/** @typedef {{ id: string, path: string }} FileOfPicture */

/**
 * A picture of a group of duplicates, as docs/duplicates.md has it.
 * @typedef {{
 *   id: string, path: string, files: FileOfPicture[], action: 'keep' | 'remove' | 'leave', score: number | null,
 *   type: string, width: number, height: number, bytes: number, taken: string | null, camera: string | null,
 *   tags: string[], favourite: boolean, rating: number | null, marks: ('burst' | 'raw' | 'live')[],
 *   companions: string[],
 * }} Duplicate
 */

/** @typedef {{ id: string, kind: string, score: number, bytes: number, pictures: Duplicate[] }} DuplicateGroup */
/** @typedef {{ page: number, pages: number, total: number, bytes: number, groups: DuplicateGroup[] }} Duplicates */

/**
 * An indexed folder. sync_hours: a server syncs it every so many hours, 0 for never, null as it changes. watched:
 * whether the server notices its changes now. collection: the name of the one that it is in.
 * @typedef {{
 *   path: string, state: string, files: number, exclude: string[], sync_hours: number | null, watched: boolean,
 *   collection: string | null,
 * }} Root
 */

/**
 * A folder of the server's machine.
 * @typedef {{
 *   name: string, path: string, pictures: number, has_more: boolean,
 *   is_hidden: boolean, is_left_out: boolean, is_indexed: boolean,
 * }} FolderEntry
 */

/**
 * A folder and its subfolders.
 * @typedef {{
 *   path: string, parent: string | null, pictures: number, folders: FolderEntry[], has_more: boolean,
 * }} FolderList
 */

/**
 * Files that no search finds.
 * @typedef {{
 *   skipped: { path: string, reason: string, code: string }[],
 *   left_out: { path: string, kind: string }[], has_more: boolean,
 * }} LeftOut
 */

/**
 * The library at a glance.
 * @typedef {object} Status
 * @property {string | null} model
 * @property {number} pictures
 * @property {number} files
 * @property {Root[]} roots
 * @property {{ name: string, fingerprint: string }[]} spaces
 * @property {{ generation: unknown }} index
 * @property {TextStatus} texts
 */

/**
 * How far the text in pictures is read. install: the command that installs what reads it.
 * @typedef {{
 *   enabled: boolean, installed: boolean, install: string | null, read: number, with_text: number, pending: number,
 * }} TextStatus
 */

/**
 * Which pictures have captions, and which models make more. captioned: those of people and files.
 * @typedef {{
 *   captioned: number, by_model: number, without: number,
 *   models: { name: string, installed: boolean, default: boolean }[],
 * }} CaptionStatus
 */

/**
 * Pictures that were taken close to each other. latitude, longitude: the middle. id: of one of them.
 * @typedef {{
 *   latitude: number, longitude: number, west: number, south: number, east: number, north: number,
 *   pictures: number, id: string,
 * }} PlaceGroup
 */

/**
 * What makes variants. license: of its weights, or `unknown`.
 * @typedef {{ name: string, license: string, native_size: number | null }} Generator
 */

/**
 * A variant. source: the picture of the library that it started from, if any.
 * @typedef {object} Variant
 * @property {string} id
 * @property {string} url
 * @property {number} seed
 * @property {number} similarity
 * @property {boolean} accepted
 * @property {{ id: string, path: string } | null} source
 */

/**
 * A job. report: of the kind of its work; error and code: why it failed.
 * @typedef {object} Job
 * @property {string} id
 * @property {string} kind
 * @property {string} path
 * @property {'queued' | 'running' | 'done' | 'failed' | 'cancelled'} state
 * @property {{ phase: string, done: number, total: number, pictures: string[] } | null} progress
 * @property {any} report
 * @property {string | null} error
 * @property {string | null} code
 */

/**
 * A picture to work on: of the library, at a URL, or a file.
 * @typedef {{ id?: string, url?: string, blob?: Blob }} Source
 */

/**
 * What was done to a picture. png: the result in base64, if anything was done. width, height: pixels of the upright
 * picture. paints: whether the server can paint over parts.
 * @typedef {{ restored: { applied: string[] }, png: string | null, width: number, height: number, paints: boolean }}
 *   RestoredPicture
 */

/**
 * Return the address of a picture of the library.
 * @param {string} id
 * @param {'thumbnail' | 'preview' | 'file'} kind
 */
export function getAddress(id, kind) {
  return `/api/v1/images/${encodeURIComponent(id)}/${kind}`;
}

export class Api {
  #authenticate;

  /** @param {() => Promise<void>} authenticate Called when the server asks for its token. Resolves
   * once somebody is logged in. */
  constructor(authenticate) {
    this.#authenticate = authenticate;
  }

  /**
   * Search.
   * @param {Query} query
   * @param {readonly Blob[]} blobs The pictures that the terms name as 0, 1, and so on.
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  search(query, blobs, signal) {
    return this.#requestJson('search', { ...createSearch(query, blobs), signal });
  }

  /**
   * Save a search.
   * @param {string} name
   * @param {Query} query
   * @param {readonly Blob[]} blobs As `search` takes them.
   */
  async saveSearch(name, query, blobs) {
    await this.#request(`searches/${encodeURIComponent(name)}`, { ...createSearch(query, blobs, false), method: 'PUT' });
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<{ searches: SavedSearch[] }>}
   */
  fetchSavedSearches(signal) {
    return this.#requestJson('searches', { signal });
  }

  /**
   * Return the pictures of a saved search that are new since it was last marked as seen.
   * @param {string} name
   * @param {AbortSignal} signal
   * @returns {Promise<Answer & { newest: number }>}
   */
  runSavedSearch(name, signal) {
    return this.#requestJson(`searches/${encodeURIComponent(name)}/hits?since=last`, { signal });
  }

  /**
   * Return a picture that was saved with a search.
   * @param {string} name
   * @param {number} place
   */
  async fetchSavedPicture(name, place) {
    return (await this.#request(`searches/${encodeURIComponent(name)}/pictures/${place}`)).blob();
  }

  /**
   * @param {string} name
   * @param {number} newest Of the answer that was seen.
   */
  async markSavedSearch(name, newest) {
    await this.#request(`searches/${encodeURIComponent(name)}/seen`, createJson({ newest }));
  }

  /**
   * @param {string} name
   * @param {string} other
   */
  async renameSavedSearch(name, other) {
    await this.#request(`searches/${encodeURIComponent(name)}`, { ...createJson({ name: other }), method: 'PATCH' });
  }

  /** @param {string} name */
  async deleteSavedSearch(name) {
    await this.#request(`searches/${encodeURIComponent(name)}`, { method: 'DELETE' });
  }

  /**
   * Restore a picture, or estimate what it suffers from.
   * @param {Source} source
   * @param {{ estimate?: boolean, crop?: string[] }} options As docs/api.md has them.
   * @param {AbortSignal} [signal]
   * @param {Blob} [mask] White where the picture is painted over.
   * @returns {Promise<RestoredPicture>}
   */
  restore({ blob, ...named }, options, signal, mask) {
    const all = { ...named, ...options };
    const request = blob || mask ? createForm(blob ? [blob] : [], { options: all }, mask) : createJson(all);
    return this.#requestJson('restored', { ...request, signal });
  }

  /**
   * Start a job that makes variants.
   * @param {Source} source
   * @param {object} options As docs/api.md has them.
   * @returns {Promise<{ job: string }>}
   */
  makeVariants({ blob, ...named }, options) {
    const all = { ...options, wait: false };
    return this.#requestJson('variants', blob ? createForm([blob], { options: all }) : createJson({ ...named, ...all }));
  }

  /**
   * Return a variant's picture.
   * @param {string} id
   */
  async fetchVariant(id) {
    return (await this.#request(`variants/${id}.png`)).blob();
  }

  /**
   * Return the limits of variants.
   * @returns {Promise<Limits & { n: number, generators: Generator[] }>}
   */
  fetchLimits() {
    return this.#requestJson('variants');
  }

  /**
   * Return a page of the library's pictures, the newest first without a sort.
   * @param {{ where: readonly string[], sort: string, cursor: string, isHidden: boolean }} list
   *   cursor: `next` of the page before; empty for the first.
   * @param {AbortSignal} signal
   * @returns {Promise<Page>}
   */
  fetchPage({ where, sort, cursor, isHidden }, signal) {
    const parameters = createParameters({ where, sort, cursor, hidden: isHidden ? 'true' : '' });
    return this.#requestJson(`images?${parameters}`, { signal });
  }

  /**
   * Count the pictures that hold conditions by the values that they have.
   * @param {readonly string[]} where
   * @param {readonly string[]} field
   * @param {AbortSignal} signal
   * @returns {Promise<Facets>}
   */
  countPictures(where, field, signal) {
    return this.#requestJson(`facets?${createParameters({ where, field })}`, { signal });
  }

  /**
   * Count the pictures of an answer by the values that they have.
   * @param {readonly string[]} ids
   * @param {readonly string[]} fields
   * @param {AbortSignal} signal
   * @returns {Promise<Facets>}
   */
  countAnswer(ids, fields, signal) {
    return this.#requestJson('facets', { ...createJson({ ids, fields }), signal });
  }

  /**
   * Return how many pictures were taken in each month, newest first. Those without a date come last.
   * @param {readonly string[]} where
   * @param {AbortSignal} signal
   * @returns {Promise<{ months: { month: string | null, count: number }[] }>}
   */
  fetchMonths(where, signal) {
    return this.#requestJson(`months?${createParameters({ where })}`, { signal });
  }

  /**
   * Return the folders with pictures in a folder.
   * @param {string | undefined} path Undefined for the indexed folders.
   * @param {readonly string[]} where
   * @param {AbortSignal} [signal]
   * @returns {Promise<{ folders: FolderCount[] }>}
   */
  fetchTree(path, where, signal) {
    return this.#requestJson(`tree?${createParameters({ path: path ?? '', where })}`, { signal });
  }

  /**
   * Return the text in a picture.
   * @param {string} id
   * @param {AbortSignal} signal
   * @returns {Promise<{ lines: TextLine[] }>}
   */
  fetchText(id, signal) {
    return this.#requestJson(`images/${encodeURIComponent(id)}/text`, { signal });
  }

  /**
   * Return the frames of the film that a picture is of, in the order of time.
   * @param {string} id
   * @param {AbortSignal} [signal]
   * @returns {Promise<{ path: string, duration: number | null, frames: Moment[] }>}
   */
  fetchFrames(id, signal) {
    return this.#requestJson(`images/${encodeURIComponent(id)}/frames`, { signal });
  }

  /**
   * Return what is known of a picture.
   * @param {string} id
   * @param {AbortSignal} [signal]
   * @returns {Promise<Image>}
   */
  fetchImage(id, signal) {
    return this.#requestJson(`images/${encodeURIComponent(id)}`, { signal });
  }

  /**
   * Return where a picture comes from.
   * @param {string} id
   * @param {AbortSignal} [signal]
   * @returns {Promise<Sources>}
   */
  fetchSources(id, signal) {
    return this.#requestJson(`images/${encodeURIComponent(id)}/sources`, { signal });
  }

  /**
   * Keep a picture in the library.
   * @param {Blob | string} source A file, or a URL.
   * @returns {Promise<{ image: Image, isNew: boolean }>} isNew: the library did not have it.
   */
  async keepImage(source) {
    const response = await this.#request('images', createUpload(source));
    return { image: await response.json(), isNew: response.status === 201 };
  }

  /**
   * Move a picture that was kept to the system's bin.
   * @param {string} id
   */
  async deleteImage(id) {
    await this.#request(`images/${encodeURIComponent(id)}`, { method: 'DELETE' });
  }

  /**
   * Change what people say of pictures.
   * @param {({ ids: string[] } & Change) | { changes: object[] }} change Or what undoes one.
   * @returns {Promise<{ changed: number, undo: { changes: { ids: string[] }[] } }>}
   */
  changeImages(change) {
    return this.#requestJson('images/batch', createJson(change));
  }

  /**
   * Move the files of pictures to the system's bin.
   * @param {readonly string[]} ids
   * @returns {Promise<{ removed: string[], files: number, failed: { path: string }[], undo: string | null }>}
   */
  removeImages(ids) {
    return this.#requestJson('images/remove', createJson({ ids }));
  }

  /**
   * Return a page of groups of duplicates, or the job that compares pictures first.
   * @param {{ kind: string, where: readonly string[], keep: string, page: number, size: number }} list
   * @param {AbortSignal} signal
   * @returns {Promise<Duplicates | { job: string }>}
   */
  fetchDuplicates({ kind, where, keep, page, size }, signal) {
    const parameters = createParameters({ kind, where, keep, page: String(page), size: String(size) });
    return this.#requestJson(`duplicates?${parameters}`, { signal });
  }

  /**
   * Move files to the system's bin, and what is said of their pictures to those that are kept.
   * @param {{ keep: FileOfPicture, remove: FileOfPicture[] }[]} groups
   * @returns {Promise<{ removed: string[], files: number, failed: { path: string }[], undo: string | null }>}
   */
  removeDuplicates(groups) {
    return this.#requestJson('duplicates/remove', createJson({ groups }));
  }

  /**
   * Take files back from the bin.
   * @param {string} undo Of the answer to their removal.
   */
  async restoreImages(undo) {
    await this.#request('images/restore', createJson({ undo }));
  }

  /**
   * Return the tags that begin with a prefix, the most frequent first.
   * @param {string} prefix
   * @returns {Promise<{ tags: { tag: string, count: number }[] }>}
   */
  fetchTags(prefix) {
    return this.#requestJson(`tags?prefix=${encodeURIComponent(prefix)}&limit=20`);
  }

  /**
   * Rename a tag in all pictures.
   * @param {string} tag
   * @param {string} name
   * @returns {Promise<{ pictures: number }>}
   */
  renameTag(tag, name) {
    return this.#requestJson(`tags/${encodeURIComponent(tag)}`, { ...createJson({ name }), method: 'PATCH' });
  }

  /** @returns {Promise<{ albums: Album[] }>} */
  fetchAlbums() {
    return this.#requestJson('albums');
  }

  /** @param {string} name */
  async createAlbum(name) {
    await this.#request('albums', createJson({ name }));
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  async renameAlbum(id, name) {
    await this.#request(`albums/${encodeURIComponent(id)}`, { ...createJson({ name }), method: 'PATCH' });
  }

  /** @param {string} id */
  async deleteAlbum(id) {
    await this.#request(`albums/${encodeURIComponent(id)}`, { method: 'DELETE' });
  }

  /**
   * Return what this login can do on the desktop of the computer that the server runs on.
   * @returns {Promise<{ shows_files: boolean }>}
   */
  fetchDesktop() {
    return this.#requestJson('desktop');
  }

  /**
   * Show the file of a picture in the file manager of the computer that the server runs on.
   * @param {string} id
   */
  async revealImage(id) {
    await this.#request(`images/${encodeURIComponent(id)}/reveal`, { method: 'POST' });
  }

  /**
   * Show a file below an indexed folder in the file manager of the computer that the server runs on.
   * @param {string} path
   */
  async revealFile(path) {
    await this.#request('folders/reveal', createJson({ path }));
  }

  /**
   * Return a JPEG that any browser shows.
   * @param {Blob | string} source A file, or a URL.
   * @param {AbortSignal} signal
   */
  async fetchPreview(source, signal) {
    return (await this.#request('images/preview', { ...createUpload(source), signal })).blob();
  }

  /**
   * Return the words that can be searched for and begin with a prefix.
   * @param {string} prefix
   * @param {number} limit
   * @param {AbortSignal} [signal]
   * @returns {Promise<Words>}
   */
  fetchWords(prefix, limit, signal) {
    return this.#requestJson(`words?prefix=${encodeURIComponent(prefix)}&limit=${limit}`, { signal });
  }

  /**
   * Return what a query may go on with.
   * @param {string} typed The last word, or a condition whose value is typed.
   * @param {AbortSignal} signal
   * @returns {Promise<{ suggestions: import('./suggestions.js').Suggestion[] }>}
   */
  fetchSuggestions(typed, signal) {
    return this.#requestJson(`suggest?q=${encodeURIComponent(typed)}`, { signal });
  }

  /**
   * Return where pictures were taken, in groups.
   * @param {{ west: number, south: number, east: number, north: number }} bounds Degrees.
   * @param {number} cells Groups from west to east, at most.
   * @param {readonly string[]} where Conditions of the pictures.
   * @param {AbortSignal} signal
   * @returns {Promise<PlaceGroup[]>}
   */
  async fetchPlaces({ west, south, east, north }, cells, where, signal) {
    const parameters = new URLSearchParams({ bounds: [west, south, east, north].join(','), cells: String(cells) });
    for (const one of where) parameters.append('where', one);
    return (await this.#requestJson(`places?${parameters}`, { signal })).groups;
  }

  /**
   * Return the outlines of the map, see scripts/write_outlines.py.
   * @returns {Promise<{ steps: number, land: number[][], borders: number[][] }>}
   */
  async fetchOutlines() {
    const response = await fetch('/web/outlines.json');
    if (!response.ok) throw await readProblem(response);
    return response.json();
  }

  /** @returns {Promise<Status>} */
  fetchStatus() {
    return this.#requestJson('status');
  }

  /**
   * Return what this login may do.
   * @returns {Promise<{ role: 'read' | 'write' | 'admin', has_login: boolean }>}
   */
  fetchGrant() {
    return this.#requestJson('login');
  }

  /** @returns {Promise<{ jobs: Job[] }>} */
  fetchJobs() {
    return this.#requestJson('jobs');
  }

  /**
   * @param {string} id
   * @returns {Promise<Job>}
   */
  fetchJob(id) {
    return this.#requestJson(`jobs/${id}`);
  }

  /**
   * Open the stream of a job's events.
   * @param {string} id
   */
  openEvents(id) {
    return new EventSource(`/api/v1/jobs/${id}/events`);
  }

  /**
   * @param {string} id
   * @param {RequestInit} [options]
   * @returns {Promise<Job>}
   */
  cancelJob(id, options = {}) {
    return this.#requestJson(`jobs/${id}`, { method: 'DELETE', ...options });
  }

  /**
   * Start a job that indexes a folder.
   * @param {string} path
   * @param {string[]} [exclude] Globs of files to leave out; by default those that the folder has.
   * @returns {Promise<{ job: string }>}
   */
  indexFolder(path, exclude) {
    return this.#requestJson('index', createJson(exclude ? { path, exclude } : { path }));
  }

  /** @returns {Promise<CaptionStatus>} */
  fetchCaptions() {
    return this.#requestJson('captions');
  }

  /**
   * Start a job in which a model captions the pictures that have no caption.
   * @param {string} model Empty for that of the server's settings.
   * @returns {Promise<{ job: string }>}
   */
  captionImages(model) {
    return this.#requestJson('captions', createJson(model ? { model } : {}));
  }

  /**
   * Add what people said of pictures, as the server's `/api/v1/annotations` answers it.
   * @param {Blob} document
   * @returns {Promise<{ pictures: number, unknown: string[] }>}
   */
  importAnnotations(document) {
    return this.#requestJson('annotations', { method: 'POST', body: document, headers: { 'Content-Type': 'application/json' } });
  }

  /**
   * Start a job that reads the text in pictures.
   * @returns {Promise<{ job: string }>}
   */
  readText() {
    return this.#requestJson('text', { method: 'POST' });
  }

  /**
   * Return the subfolders of a folder that may be indexed.
   * @param {string} path Empty for the folders to start from.
   * @returns {Promise<FolderList>}
   */
  fetchFolders(path) {
    return this.#requestJson(`folders?path=${encodeURIComponent(path)}`);
  }

  /** @param {string} path */
  async allowFolder(path) {
    await this.#request('folders/allow', createJson({ path }));
  }

  /**
   * Set when a folder is synced by itself.
   * @param {string} path
   * @param {number | null} hours Every so many; 0 for never, null as it changes.
   */
  async setSchedule(path, hours) {
    await this.#request('folders', { ...createJson({ path, sync_hours: hours }), method: 'PATCH' });
  }

  /**
   * Put an indexed folder into a collection, or take it out.
   * @param {string} path
   * @param {string} name Of the collection; empty for none.
   * @param {string | null} before The one that it is in.
   */
  async setCollection(path, name, before) {
    const place = `collections/${encodeURIComponent(name || (before ?? ''))}`;
    if (name) await this.#request(place, { ...createJson({ folders: [path] }), method: 'PUT' });
    else if (before) await this.#request(`${place}?folder=${encodeURIComponent(path)}`, { method: 'DELETE' });
  }

  /**
   * Take a folder out of the library.
   * @param {string} path
   */
  async forgetFolder(path) {
    await this.#request(`folders?path=${encodeURIComponent(path)}`, { method: 'DELETE' });
  }

  /**
   * Return the files of a folder that no search finds.
   * @param {string} path
   * @returns {Promise<LeftOut>}
   */
  fetchLeftOut(path) {
    return this.#requestJson(`folders/left-out?path=${encodeURIComponent(path)}`);
  }

  /**
   * Make a link that opens the page, logged in.
   * @returns {Promise<{ path: string, urls: string[], qr: string | null }>}
   */
  createLink() {
    return this.#requestJson('login/links', { method: 'POST' });
  }

  /**
   * Return a picture that was shared with the page. It is there once.
   * @param {string} id
   */
  async fetchShared(id) {
    return (await this.#request(`shared/${encodeURIComponent(id)}`)).blob();
  }

  /** Log this browser out. */
  async logOut() {
    await this.#request('login', { method: 'DELETE' });
  }

  /** @param {string} token */
  async logIn(token) {
    await this.#request('login', createJson({ token }));
  }

  /**
   * Send a request. Raises Problem.
   * @param {string} path
   * @param {RequestInit} [options]
   */
  async #request(path, options = {}) {
    for (let isRetry = false; ; isRetry = true) {
      let response;
      try {
        response = await fetch(`/api/v1/${path}`, options);
      } catch (error) {
        if (isAbort(error)) throw error;
        throw new Problem(0, 'unreachable');
      }
      if (response.ok) return response;
      if (response.status !== 401 || (path === 'login' && options.method === 'POST')) throw await readProblem(response);
      if (isRetry) throw new Problem(401, 'cookies_blocked'); // logged in, but the cookie is not sent
      await this.#authenticate();
    }
  }

  /**
   * Send a request and parse the JSON that answers it. Raises Problem.
   * @param {string} path
   * @param {RequestInit} [options]
   */
  async #requestJson(path, options) {
    const response = await this.#request(path, options);
    try {
      return await response.json();
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new Problem(0, 'unreachable');
    }
  }
}

/** @param {Response} response */
async function readProblem(response) {
  try {
    const { code = 'unknown', detail = '' } = await response.json();
    return new Problem(response.status, String(code), String(detail));
  } catch {
    return new Problem(response.status, 'unknown', response.statusText);
  }
}

/**
 * Write the parameters of an address. Empty ones are left out.
 * @param {Record<string, string | readonly string[]>} values
 */
function createParameters(values) {
  const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return new URLSearchParams(pairs.filter(([, value]) => value !== ''));
}

/**
 * @param {object} value
 * @returns {RequestInit}
 */
function createJson(value) {
  return { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) };
}

/**
 * @param {readonly Blob[]} blobs
 * @param {Record<string, object>} [fields] JSON beside the pictures, by name.
 * @param {Blob} [mask] Of the picture.
 * @returns {RequestInit}
 */
function createForm(blobs, fields = {}, mask = undefined) {
  const body = new FormData();
  for (const blob of blobs) body.append('image', blob, blob instanceof File ? blob.name : 'picture');
  for (const [name, value] of Object.entries(fields)) body.append(name, JSON.stringify(value));
  if (mask) body.append('mask', mask, 'mask.png');
  return { method: 'POST', body };
}

/**
 * Write a query, with what the reader prefers for all of them.
 * @param {Query} query
 * @param {readonly Blob[]} blobs
 * @param {boolean} [withModel] With the model that is preferred: not in a query that is saved, which others open too.
 */
function createSearch(query, blobs, withModel = true) {
  const { minScore, expand, model } = readPreferences(getStorage());
  const hasPicture = blobs.length > 0 || Boolean(query.terms?.some((term) => 'image' in term));
  const isScored = hasPicture || Boolean(query.line || query.terms?.length);
  const sent = {
    ...(minScore && isScored ? { min_score: minScore } : {}), ...(expand && hasPicture ? { expand } : {}),
    ...(withModel && model && isScored ? { model } : {}), ...query,
  };
  return blobs.length ? createForm(blobs, { query: sent }) : createJson(sent);
}

/** @param {Blob | string} source */
function createUpload(source) {
  return source instanceof Blob ? createForm([source]) : createJson({ url: source });
}
