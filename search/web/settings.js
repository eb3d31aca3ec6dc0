// The dialogs of settings and of help.

import { closeOnOutsideClick, createElement, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { SHORTCUTS, isHelpKey } from './keyboard.js';
import { CUT_OFFS, EXPANSIONS, LABELS, getStorage, readPreferences, writePreferences } from './preferences.js';

/** @import { Status } from './api.js' */
/** @import { Preferences } from './preferences.js' */

/** Show the page in the theme that the reader prefers. */
export function applyTheme() {
  const { theme } = readPreferences(getStorage());
  document.documentElement.style.colorScheme = theme === 'system' ? '' : theme;
}

export class SettingsDialog {
  #dialog = getElement('settings', HTMLDialogElement);
  #onResults;
  /** The models of the list, as JSON. */
  #models = '';

  /** @param {() => void} onResults Results have another cut-off now, are compared or not, or show labels or not. */
  constructor(onResults) {
    this.#onResults = onResults;
    const { language, theme, minScore, verifies, expand, labels } = readPreferences(getStorage());
    const languages = /** @type {const} */ (['auto', 'en', 'zh']);
    this.#fill('settings-language', languages.map((name) => [name, translate(`language_${name}`)]), language);
    const themes = /** @type {const} */ (['system', 'light', 'dark']);
    this.#fill('settings-theme', themes.map((name) => [name, translate(`theme_${name}`)]), theme);
    this.#fill('settings-cut-off', CUT_OFFS.map((score) => [String(score), describeCutOff(score)]), String(minScore));
    const comparisons = /** @type {const} */ (['on', 'off']);
    this.#fill('settings-verify', comparisons.map((name) => [name, translate(`verify_${name}`)]), verifies ? 'on' : 'off');
    this.#listen('settings-language', (value) => {
      this.#write({ language: /** @type {Preferences['language']} */ (value) });
      location.reload(); // all texts change
    });
    this.#listen('settings-theme', (value) => {
      this.#write({ theme: /** @type {Preferences['theme']} */ (value) });
      applyTheme();
    });
    this.#listen('settings-cut-off', (value) => {
      this.#write({ minScore: Number(value) });
      this.#onResults();
    });
    const expansions = EXPANSIONS.map((n) => /** @type {[string, string]} */ ([String(n), n ? translate('expand_n', { n }) : translate('expand_off')]));
    this.#fill('settings-expand', expansions, String(expand));
    this.#listen('settings-expand', (value) => {
      this.#write({ expand: Number(value) });
      this.#onResults();
    });
    this.#fill('settings-labels', LABELS.map((place) => [place, translate(`labels_${place}`)]), labels);
    this.#listen('settings-labels', (value) => {
      this.#write({ labels: /** @type {Preferences['labels']} */ (value) });
      this.#onResults();
    });
    this.#listen('settings-model', (value) => {
      this.#write({ model: value });
      this.#onResults();
    });
    this.#listen('settings-verify', (value) => {
      this.#write({ verifies: value === 'on' });
      this.#onResults();
    });
    for (const button of document.querySelectorAll('[data-settings]')) {
      button.addEventListener('click', () => this.#dialog.showModal());
    }
    getElement('settings-close').addEventListener('click', () => this.#dialog.close());
    closeOnOutsideClick(this.#dialog);
  }

  /**
   * Show the models that answer, and whether text in pictures is read.
   * @param {Status} status
   */
  showStatus({ spaces, texts: { enabled, installed, install, read } }) {
    this.#showModels(spaces);
    const reason = installed ? 'text_off' : 'text_not_installed';
    const state = enabled && installed ? translate('text_on') : translate(reason, { command: install ?? '' });
    getElement('settings-text').textContent = `${state} ${translate('text_read', { n: read })}`;
  }

  /**
   * Offer the model of the server, and those whose vectors the pictures have.
   * @param {Status['spaces']} spaces
   */
  #showModels(spaces) {
    const own = translate(spaces.length ? 'settings_model_server' : 'settings_no_model');
    const named = spaces.map(({ name, fingerprint }) => {
      const isTwin = spaces.some((other) => other.name === name && other.fingerprint !== fingerprint);
      return [fingerprint, isTwin ? `${name} (${fingerprint.slice(0, 4)})` : name];
    });
    const models = [['', own], ...named];
    const { model } = readPreferences(getStorage());
    const isKnown = models.some(([value]) => value === model);
    const signature = JSON.stringify(models);
    if (signature !== this.#models) { // else an open list would close
      this.#models = signature;
      this.#fill('settings-model', models, isKnown ? model : '');
    }
    if (isKnown || !spaces.length) return;
    this.#write({ model: '' });
    this.#onResults(); // what was searched under a model that is gone
  }

  /**
   * @param {string} id
   * @param {string[][]} options Values and texts.
   * @param {string} chosen
   */
  #fill(id, options, chosen) {
    const items = options.map(([value, text]) => createElement('option', { value, text, selected: value === chosen }));
    getElement(id).replaceChildren(...items);
  }

  /**
   * @param {string} id
   * @param {(value: string) => void} onChange
   */
  #listen(id, onChange) {
    const field = getElement(id, HTMLSelectElement);
    field.addEventListener('change', () => onChange(field.value));
  }

  /** @param {Partial<Preferences>} changes */
  #write(changes) {
    writePreferences(getStorage(), changes);
  }
}

/** The dialog that lists the keys of the page. */
export class HelpDialog {
  #dialog = getElement('help', HTMLDialogElement);

  constructor() {
    const rows = SHORTCUTS.flatMap(({ keys, text }) => [
      createElement('dt', {}, ...keys.flatMap((key, i) => [i ? ' ' : '', createElement('kbd', { text: key })])),
      createElement('dd', { text: translate(text) }),
    ]);
    getElement('help-keys').replaceChildren(...rows);
    for (const button of document.querySelectorAll('[data-help]')) button.addEventListener('click', () => this.open());
    getElement('help-close').addEventListener('click', () => this.#dialog.close());
    closeOnOutsideClick(this.#dialog);
    addEventListener('keydown', (event) => {
      const isTyping = event.target instanceof Element && event.target.closest('input, textarea, select');
      if (!isTyping && isHelpKey(event)) this.open();
    });
  }

  open() {
    if (!this.#dialog.open) this.#dialog.showModal();
  }
}

/** @param {number} score */
function describeCutOff(score) {
  return score ? translate('cut_off_score', { score: translator.formatPercent(score) }) : translate('cut_off_none');
}
