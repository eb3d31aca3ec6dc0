// Where the picture that is shown large comes from. It is asked for once somebody opens the panel.

import { createElement, createPath, getElement } from './dom.js';
import { createFact } from './facts.js';
import { translate, translator } from './i18n.js';
import { createLinkOut, isWebAddress } from './links.js';
import { formatProblem, isAbort, toProblem } from './problems.js';

/** @import { Api, Sources } from './api.js' */
/** @import { TextKey } from './texts.js' */

export class SourcesPanel {
  #api;
  #details = getElement('detail-sources', HTMLDetailsElement);
  #list = getElement('sources-list');
  #id = '';
  #loading = new AbortController();

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
    this.#details.addEventListener('toggle', () => {
      if (this.#details.open && !this.#list.childElementCount) this.#load();
    });
  }

  /**
   * Be ready for a picture. A panel that is open stays open.
   * @param {string} id
   */
  show(id) {
    this.#loading.abort();
    this.#id = id;
    this.#list.replaceChildren();
    if (id && this.#details.open) this.#load();
  }

  async #load() {
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    this.#list.replaceChildren(createElement('p', { class: 'hint', text: translate('sources_loading') }));
    try {
      const sources = await this.#api.fetchSources(this.#id, signal);
      if (!signal.aborted) this.#list.replaceChildren(...createSources(sources));
    } catch (error) {
      if (isAbort(error)) return;
      const text = formatProblem(toProblem(error), translator);
      this.#list.replaceChildren(createElement('p', { class: 'error-text', role: 'alert', text }));
    }
  }
}

/**
 * Create what is known of where a picture comes from.
 * @param {Sources} sources
 * @returns {HTMLElement[]}
 */
export function createSources(sources) {
  const facts = /** @type {HTMLElement[]} */ ([]);
  /** @type {(key: TextKey, ...value: (string | Node)[]) => void} */
  const add = (key, ...value) => { facts.push(...createFact(translate(key), value)); };
  for (const { page, title, text } of sources.pages) {
    const words = [title, ...text.split('\n')].filter(Boolean).join(' · ');
    add('source_page', createLinkOut(page), ...(words ? [createElement('div', { class: 'hint', text: words })] : []));
  }
  for (const { url, referrer } of sources.downloads) {
    const on = referrer ? [createElement('div', { class: 'hint' }, translate('source_referrer', { page: '' }), createLinkOut(referrer))] : [];
    add('source_download', ...(url ? [createLinkOut(url)] : []), ...on);
  }
  if (sources.source_url) add('source_url', createLinkOut(sources.source_url));
  if (sources.original_name) add('source_original_name', sources.original_name);
  if (sources.camera) add('fact_camera', sources.camera);
  for (const { name, value } of sources.credits) {
    add(/** @type {TextKey} */ (`source_${name}`), isWebAddress(value) ? createLinkOut(value) : value);
  }
  const credentials = sources.content_credentials;
  if (credentials) {
    const words = [credentials.generator, credentials.title, ...credentials.actions].filter(Boolean).join(' · ');
    const note = createElement('div', { class: 'hint', text: translate('source_c2pa_note') });
    add('source_c2pa', words || translate('source_c2pa_unreadable'), note);
  }
  for (const path of sources.paths) {
    add('source_file', ...(isWebAddress(path) ? [createLinkOut(path)] : createPath(path)));
  }
  const parts = /** @type {HTMLElement[]} */ ([createElement('dl', {}, ...facts)]);
  if (sources.problem) parts.push(createHint(translate('source_problem', { reason: sources.problem })));
  if (sources.engines.length) {
    const links = sources.engines.map(({ name, url }) => createLinkOut(url, name, 'button'));
    parts.push(
      createElement('div', { class: 'buttons', role: 'group', 'aria-label': translate('source_engines') }, ...links),
      createHint(translate('source_engines_note')),
    );
  } else parts.push(createHint(translate('source_no_url')));
  return parts;
}

/** @param {string} text */
function createHint(text) {
  return createElement('p', { class: 'hint', text });
}
