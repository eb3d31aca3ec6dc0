// The dialog that makes variants of a picture: its options, the job, and the variants.

import { CompareDialog } from './compare.js';
import { closeOnOutsideClick, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { followJob } from './job-events.js';
import { NoiseSlider } from './noise-slider.js';
import { removeExtension, splitPath } from './paths.js';
import { formatProblem, toProblem } from './problems.js';
import { VariantTiles } from './variant-tiles.js';

/** @import { Api, Generator, Job, Source, Variant } from './api.js' */
/** @import { Problem } from './problems.js' */

const SEEDS = 1_000_000;
const SIZE = 384; // pixels of the long side
const MAX_N = 16;
const OWN_GENERATOR = 'lookalike';

/**
 * What variants are made of. address: where its picture is shown; name: of its file.
 * @typedef {{ source: Source, address: string, name: string }} VariantQuery
 */

/**
 * A variant as it is shown. place: from 1; about: score, seed and more; file: a name to save it by.
 * @typedef {Variant & { place: number, score: string, about: string, file: string }} NamedVariant
 */

/**
 * What the dialog calls.
 * @typedef {object} Callbacks
 * @property {(file: File) => void} onSearch Search by a variant.
 * @property {() => void} onKept A variant is in the library now, or was taken out again.
 * @property {(event: MouseEvent) => void} onFollow A link to results was clicked.
 * @property {() => number} countPictures Number of pictures in the library, 0 while unknown.
 * @property {ReturnType<import('./toast.js').createToast>} showToast
 */

/**
 * The work that is going on. id: of its job, once the server has answered.
 * @typedef {{ id: string | null, stopFollowing: () => void }} Work
 */

export class VariantsDialog {
  #api;
  #callbacks;
  #dialog = getElement('variants', HTMLDialogElement);
  #image = getElement('variants-query', HTMLImageElement);
  #countField = getElement('variants-count', HTMLInputElement);
  #seedField = getElement('variants-seed', HTMLInputElement);
  #generatorField = getElement('variants-generator', HTMLSelectElement);
  #slider;
  #compare;
  #tiles;
  #name = '';

  /** @type {Source} */
  #source = {};

  /** @type {Work | null} */
  #work = null;

  /** @type {NamedVariant[]} */
  #variants = [];

  /** @type {Generator[]} */
  #generators = [];

  /** The options of the variants that are shown, as JSON. */
  #shownOptions = '';

  /**
   * @param {Api} api
   * @param {Callbacks} callbacks
   */
  constructor(api, callbacks) {
    this.#api = api;
    this.#callbacks = callbacks;
    this.#slider = new NoiseSlider(() => this.#update());
    this.#compare = new CompareDialog({
      onSearch: (variant) => this.#search(variant),
      onKeep: (variant) => this.#keep(variant, getElement('compare-keep')),
    });
    this.#tiles = new VariantTiles(this.#image, {
      onSearch: (variant) => this.#search(variant),
      onCompare: (variant) => this.#compare.show(this.#image, variant),
      onKeep: (variant, button) => this.#keep(variant, button),
      onFollow: (event) => this.#follow(event),
    });
    this.#image.addEventListener('load', () => this.#slider.draw(this.#image));
    getElement('variants-form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#work) this.#cancel();
      else this.#make();
    });
    getElement('variants-random').addEventListener('click', () => this.#setSeed(Math.floor(SEEDS * Math.random())));
    for (const field of [this.#countField, this.#seedField]) field.addEventListener('input', () => this.#update());
    getElement('variants-start').addEventListener('change', () => this.#update());
    this.#generatorField.addEventListener('change', () => this.#update());
    getElement('variants-close').addEventListener('click', () => this.#dialog.close());
    closeOnOutsideClick(this.#dialog);
    this.#dialog.addEventListener('close', () => this.#cancel());
    addEventListener('pagehide', () => this.#cancelOnLeave());
  }

  /**
   * Show the dialog for a picture.
   * @param {VariantQuery} query
   */
  async open({ source, address, name }) {
    if (getKey(source) !== getKey(this.#source)) {
      this.#show([]);
      this.#shownOptions = '';
      this.#showState('');
    }
    this.#source = source;
    this.#name = removeExtension(name) || translate('picture');
    this.#image.alt = translate('query_alt');
    this.#image.src = address;
    this.#update();
    if (!this.#dialog.open) this.#dialog.showModal();
    try {
      if (!this.#slider.isReady) await this.#fetchLimits();
    } catch (error) {
      this.#showProblem(toProblem(error));
    }
  }

  async #fetchLimits() {
    const limits = await this.#api.fetchLimits();
    this.#slider.setLimits(limits);
    this.#generators = limits.generators;
    this.#generatorField.replaceChildren(...limits.generators.map(({ name }) => new Option(nameGenerator(name), name)));
    this.#countField.max = String(Math.min(limits.n, MAX_N));
    if (this.#image.naturalWidth) this.#slider.draw(this.#image);
    this.#update();
  }

  /** Whether variants may start from neighbours: those of the concept, if the library has pictures. */
  get #offersNeighbours() {
    return this.#slider.regime === 'concept' && this.#callbacks.countPictures() > 0;
  }

  get #startsFromNeighbours() {
    return this.#offersNeighbours && getElement('variants-start-neighbours', HTMLInputElement).checked;
  }

  /** Whether there is a choice of generators. */
  get #offersGenerators() {
    return this.#generators.length > 1;
  }

  /** The options of a request. */
  get #options() {
    const start = this.#startsFromNeighbours ? { from: 'neighbours' } : {};
    const generator = this.#offersGenerators ? { generator: this.#generatorField.value } : {};
    const numbers = { n: this.#countField.valueAsNumber, seed: this.#seedField.valueAsNumber };
    return { ...numbers, size: SIZE, ...this.#slider.value, ...start, ...generator };
  }

  /** Whether the same request would make the variants that are shown. */
  get #isRepetition() {
    return this.#shownOptions === JSON.stringify(this.#options);
  }

  /** @param {number} value */
  #setSeed(value) {
    this.#seedField.value = String(value);
    this.#update();
  }

  /** Show the options that there are, and what the button does. */
  #update() {
    if (!this.#slider.isReady) return;
    const starts = getElement('variants-start', HTMLFieldSetElement);
    starts.hidden = starts.disabled = !this.#offersNeighbours;
    this.#slider.showNoise(!this.#startsFromNeighbours);
    this.#showGenerator();
    const n = this.#options.n || 0;
    const button = getElement('variants-submit', HTMLButtonElement);
    button.textContent = this.#work ? translate('cancel') : translate(this.#isRepetition ? 'make_others_n' : 'make_variants_n', { n });
    button.classList.toggle('button-primary', !this.#work);
    button.formNoValidate = this.#work !== null;
  }

  /** Show the choice of generators, with the license of the chosen one. */
  #showGenerator() {
    getElement('variants-generators').hidden = !this.#offersGenerators;
    const generator = this.#generators.find(({ name }) => name === this.#generatorField.value);
    const license = generator?.license === 'unknown' ? translate('license_unknown') : (generator?.license ?? '');
    getElement('variants-license').textContent = translate('license_of', { license });
  }

  async #make() {
    if (!this.#slider.isReady) return;
    if (this.#isRepetition) this.#setSeed(Math.max(...this.#variants.map(({ seed }) => seed)) + 1);
    const options = this.#options;
    const work = /** @type {Work} */ ({ id: null, stopFollowing: () => {} });
    this.#work = work;
    this.#tiles.showBlanks(options.n);
    this.#showState(translate('variants_queued'), null);
    this.#update();
    try {
      const { job } = await this.#api.makeVariants(this.#source, options);
      work.id = job;
      if (this.#work === work) this.#followWork(work, job, JSON.stringify(options));
      else this.#api.cancelJob(job).catch(() => {});
    } catch (error) {
      if (this.#work === work) this.#showProblem(toProblem(error));
    }
  }

  /**
   * @param {Work} work
   * @param {string} id
   * @param {string} options As JSON.
   */
  #followWork(work, id, options) {
    work.stopFollowing = followJob(this.#api, id, {
      onChange: (job) => this.#showJob(job, options),
      onLost: () => this.#showState(translate('job_lost'), null),
      onGone: (problem) => this.#showProblem(problem),
    });
  }

  /**
   * @param {Job} job
   * @param {string} options As JSON.
   */
  #showJob({ state, progress, report, error, code }, options) {
    if (state === 'queued') this.#showState(translate('variants_queued'), null);
    else if (state === 'running') this.#showProgress(progress);
    else if (state === 'done') this.#finish(report, options);
    else if (state === 'failed') this.#showProblem({ code: code ?? 'unknown', detail: error ?? '' });
    else this.#showCancelled();
  }

  /**
   * Show how far the work is, and what the pictures look like by now.
   * @param {Job['progress']} progress
   */
  #showProgress(progress) {
    const text = progress?.phase === 'fetch' ? 'generator_fetched' : 'variants_progress';
    this.#showState(translate(text), progress?.total ? progress.done / progress.total : null);
    this.#tiles.showPreviews(progress?.pictures ?? []);
  }

  /**
   * @param {{ variants: Variant[], seconds: number }} report
   * @param {string} options As JSON.
   */
  #finish({ variants, seconds }, options) {
    this.#endWork();
    this.#shownOptions = options;
    this.#show(variants.map((variant, i) => this.#nameVariant(variant, i + 1)));
    const time = translate('seconds', { n: seconds });
    this.#showState(translate('variants_made', { n: variants.length, time }));
    this.#update();
  }

  /**
   * @param {Variant} variant
   * @param {number} place
   * @returns {NamedVariant}
   */
  #nameVariant(variant, place) {
    const score = variant.similarity.toFixed(2);
    const seed = String(variant.seed);
    const parts = [translate('score', { score }), translate('seed_of', { seed })];
    if (variant.source) parts.push(translate('source', { name: splitPath(variant.source.path).name }));
    if (!variant.accepted) parts.push(translate('rejected'));
    const file = `${this.#name} ${translate('variant', { n: seed })}.png`;
    return { ...variant, place, score, about: parts.join(', '), file };
  }

  /**
   * Follow a link to results, and close the dialog unless another tab was wanted.
   * @param {MouseEvent} event
   */
  #follow(event) {
    this.#callbacks.onFollow(event);
    if (event.defaultPrevented) this.#dialog.close();
  }

  #endWork() {
    this.#work?.stopFollowing();
    this.#work = null;
  }

  #cancel() {
    if (!this.#work) return;
    if (this.#work.id) this.#api.cancelJob(this.#work.id).catch(() => {});
    this.#showCancelled();
  }

  /** Nobody waits for variants when the page is left. */
  #cancelOnLeave() {
    if (this.#work?.id) this.#api.cancelJob(this.#work.id, { keepalive: true }).catch(() => {});
  }

  #showCancelled() {
    this.#endWork();
    this.#show(this.#variants);
    this.#showState(translate('variants_cancelled'));
    this.#update();
  }

  /** @param {Pick<Problem, 'code' | 'detail'>} problem */
  #showProblem(problem) {
    this.#endWork();
    this.#show(this.#variants);
    this.#showState('');
    getElement('variants-problem').textContent = formatProblem(problem, translator);
    this.#update();
  }

  /**
   * Show a line over the pictures.
   * @param {string} text
   * @param {number | null} [share] How much is done; null while that is not known.
   */
  #showState(text, share) {
    getElement('variants-problem').textContent = '';
    getElement('variants-state').textContent = text;
    const bar = getElement('variants-progress', HTMLProgressElement);
    bar.hidden = share === undefined;
    if (share === null) bar.removeAttribute('value');
    else if (share !== undefined) bar.value = share;
  }

  /** @param {NamedVariant[]} variants */
  #show(variants) {
    this.#variants = variants;
    this.#tiles.show(variants);
  }

  /** @param {NamedVariant} variant */
  async #search(variant) {
    const file = await this.#fetchFile(variant);
    if (!file) return;
    this.#compare.close();
    this.#callbacks.onSearch(file);
  }

  /**
   * Take a variant out of the library that was put into it.
   * @param {string} id
   */
  async #undo(id) {
    try {
      await this.#api.deleteImage(id);
      this.#callbacks.showToast(translate('undone'));
      this.#callbacks.onKept();
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    }
  }

  /**
   * @param {NamedVariant} variant
   * @param {HTMLElement} button
   */
  async #keep(variant, button) {
    if (button.ariaDisabled) return;
    button.ariaDisabled = 'true';
    const file = await this.#fetchFile(variant);
    try {
      if (!file) return;
      const { image, isNew } = await this.#api.keepImage(file);
      const undo = { text: translate('undo'), act: () => this.#undo(image.id) };
      this.#callbacks.showToast(translate(isNew ? 'kept_variant' : 'had_already'), isNew ? undo : undefined);
      this.#callbacks.onKept();
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
    } finally {
      button.ariaDisabled = null;
    }
  }

  /**
   * Return a variant's picture, or null if the server has deleted it.
   * @param {NamedVariant} variant
   */
  async #fetchFile(variant) {
    try {
      return new File([await this.#api.fetchVariant(variant.id)], variant.file, { type: 'image/png' });
    } catch (error) {
      this.#callbacks.showToast(formatProblem(toProblem(error), translator));
      return null;
    }
  }
}

/**
 * Return the name of a generator for people.
 * @param {string} name
 */
function nameGenerator(name) {
  return name === OWN_GENERATOR ? translate('generator_own') : name;
}

/**
 * Return what tells one picture from another.
 * @param {Source} source
 */
function getKey({ blob, id, url }) {
  return blob ?? id ?? url;
}
