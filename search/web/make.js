// The panel that makes variants of a picture: the dial, the work, and what came of it.

import * as api from './api.js';
import { Compare } from './compare.js';
import { Dial } from './dial.js';
import { follow } from './follow.js';
import { byId, dismiss, icon, node, parts, tell } from './node.js';
import { FEW, short, write } from './route.js';
import { sentence } from './states.js';
import { arrange, blank, shaped } from './tiles.js';
import { knows, say } from './words.js';

const SEEDS = 1_000_000;
const SIZE = 384; // pixels of the long side

export class Maker {
  /** search(file): by a variant; kept(): a variant is in the library now; go(event): a link to
   * results; countPictures(): how many the library holds, if that is known. */
  constructor({ search, kept, go, countPictures }) {
    Object.assign(this, { search, kept, go, countPictures, made: [], job: null, tries: 0 });
    this.dialog = byId('make');
    this.image = byId('make-query');
    this.dial = new Dial(() => this.#ready());
    this.compare = new Compare({
      search: (variant) => this.#searchWith(variant),
      keep: (variant) => this.#keep(variant, byId('compare-keep')),
    });
    this.image.addEventListener('load', () => this.dial.draw(this.image));
    byId('make-form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#busy) this.#cancel();
      else this.#make();
    });
    byId('make-dice').addEventListener('click', () => this.#seed(Math.floor(SEEDS * Math.random())));
    for (const name of ['make-n', 'make-seed']) {
      byId(name).addEventListener('input', () => this.#ready());
    }
    byId('make-starts').addEventListener('change', () => this.#ready());
    byId('make-close').addEventListener('click', () => this.dialog.close());
    dismiss(this.dialog);
    this.dialog.addEventListener('close', () => this.#cancel());
    addEventListener('pagehide', () => this.#leave());
  }

  /** Show it. source: {id}, {url} or {blob}; src: where the picture is shown; name: of its file. */
  async open({ source, src, name }) {
    if (this.key !== (source.blob ?? source.id ?? source.url)) {
      this.key = source.blob ?? source.id ?? source.url;
      this.#list([]);
      this.last = null;
      this.#say('');
    }
    Object.assign(this, { source, name: name.replace(/\.\w+$/, '') || say('picture') });
    this.image.alt = say('query_alt');
    this.image.src = src;
    this.#ready();
    if (!this.dialog.open) this.dialog.showModal();
    try {
      if (!this.dial.regimes) this.#fit(await api.dial());
    } catch (error) {
      this.#fail(error);
    }
  }

  #fit(limits) {
    this.dial.fit(limits);
    byId('make-n').max = Math.min(limits.n, 16);
    if (this.image.naturalWidth) this.dial.draw(this.image);
    this.#ready();
  }

  get #busy() {
    return this.job !== null;
  }

  /** Whether variants may start from the library's nearest pictures: only those of the concept do,
   * and only where the library has pictures. */
  get #offersNeighbours() {
    return this.dial.regime === 'concept' && this.countPictures() > 0;
  }

  get #startsFromNeighbours() {
    return this.#offersNeighbours && byId('start-neighbours').checked;
  }

  /** What is asked for. */
  #options() {
    const [n, seed] = ['make-n', 'make-seed'].map((name) => byId(name).valueAsNumber);
    const from = this.#startsFromNeighbours ? { from: 'neighbours' } : {};
    return { n, seed, size: SIZE, ...this.dial.value, ...from };
  }

  #seed(value) {
    byId('make-seed').value = value;
    this.#ready();
  }

  /** What the button does now: what was made already is not made again. */
  #ready() {
    if (!this.dial.regimes) return;
    byId('make-starts').hidden = byId('make-starts').disabled = !this.#offersNeighbours;
    this.dial.showNoise(!this.#startsFromNeighbours);
    const { n } = this.#options();
    this.again = this.last === JSON.stringify(this.#options());
    const words = this.#busy ? say('cancel') : say(this.again ? 'make_others' : 'make_n', { n: n || 0 });
    byId('make-go').textContent = words;
    byId('make-go').classList.toggle('main', !this.#busy);
    byId('make-go').formNoValidate = this.#busy;
  }

  async #make() {
    if (!this.dial.regimes) return;
    if (this.again) this.#seed(Math.max(...this.made.map((variant) => variant.seed)) + 1);
    const options = this.#options();
    const mine = { id: null };
    this.job = mine;
    this.#list(Array.from({ length: options.n }, () => null));
    byId('make-tiles').parentElement.scrollIntoView({ block: 'nearest' });
    this.#say(say('make_queued'), null);
    this.#ready();
    try {
      const { job } = await api.vary(this.source, options);
      mine.id = job;
      if (this.job === mine) this.#follow(mine, options);
      else api.cancel(job).catch(() => {});
    } catch (error) {
      if (this.job === mine) this.#fail(error);
    }
  }

  #follow(mine, options) {
    mine.unfollow = follow(mine.id, null, {
      show: (job) => this.#show(job, options),
      lost: () => this.#say(say('job_lost'), null),
      gone: (problem) => this.#fail(problem),
    });
  }

  #show({ state, progress, report, error }, options) {
    if (state === 'queued') this.#say(say('make_queued'), null);
    else if (state === 'running') this.#move(progress);
    else {
      this.#end();
      if (state === 'done') this.#done(report, options);
      else if (state === 'failed') this.#fail({ status: -1, detail: error ?? '' });
      else this.#stopped();
    }
  }

  /** How far it is, and what the pictures look like by now. */
  #move(progress) {
    const total = progress?.total ?? 0;
    const share = total ? progress.done / total : null;
    this.#say(say('making'), share);
    progress?.pictures.forEach((url, i) => {
      const image = byId('make-tiles').children[i]?.querySelector('img');
      if (image) image.src = url;
    });
  }

  #done({ variants, seconds }, options) {
    this.last = JSON.stringify(options);
    this.#list(variants.map((variant, i) => this.#named(variant, i + 1)));
    this.#say(say('made', { n: variants.length, time: say('seconds', { n: seconds }) }));
    this.#ready();
  }

  #named(variant, place) {
    const score = variant.similarity.toFixed(2);
    const said = [say('score', { score }), say('seed_of', { seed: String(variant.seed) })];
    if (variant.source) said.push(say('source', { name: parts(variant.source.path).name }));
    if (!variant.accepted) said.push(say('rejected'));
    const about = said.join(', ');
    const file = `${this.name} ${say('variant', { n: String(variant.seed) })}.png`;
    return { ...variant, place, score, about, file };
  }

  /** The work has ended, or nobody wants it any more. */
  #end() {
    this.job?.unfollow?.();
    this.job = null;
  }

  #cancel() {
    const id = this.job?.id;
    if (!this.#busy) return;
    this.#end();
    if (id) api.cancel(id).catch(() => {});
    this.#stopped();
  }

  /** The tab goes away while it works. */
  #leave() {
    if (this.job?.id) api.cancel(this.job.id, { keepalive: true }).catch(() => {});
  }

  #stopped() {
    this.#list(this.made);
    this.#say(say('make_cancelled'));
    this.#ready();
  }

  #fail(error) {
    this.#end();
    this.#list(this.made);
    const known = ![400, 422].includes(error.status) && knows(`problem_${error.status}`);
    const title = say(known ? `problem_${error.status}` : 'problem');
    const detail = error.status === 0 ? say('problem_0_hint') : sentence(error.detail ?? String(error));
    this.#say('');
    byId('make-wrong').textContent = [title, detail].filter(Boolean).join('. ');
    this.#ready();
  }

  /** A line over the pictures. share: how much is done; null while that is not known. */
  #say(text, share) {
    byId('make-wrong').textContent = '';
    byId('make-state').textContent = text;
    const bar = byId('make-bar');
    bar.hidden = share === undefined;
    if (share === null) bar.removeAttribute('value');
    else if (share !== undefined) bar.value = share;
  }

  /** variants: with null for those that are being made. */
  #list(variants) {
    if (!variants.includes(null)) this.made = variants;
    byId('make-none').hidden = variants.length > 0;
    const tiles = variants.map((variant) => (variant ? this.#tile(variant) : blank(this.image)));
    arrange(byId('make-tiles'), tiles.length, this.image, variants.some((variant) => variant?.source));
    byId('make-tiles').replaceChildren(...tiles);
  }

  #tile(variant) {
    const image = shaped(this.image);
    image.src = variant.url;
    const label = say('search_with', { n: variant.place, about: variant.about });
    const open = { type: 'button', class: 'picked', 'aria-label': label, title: say('search_by_it') };
    const picked = node('button', { ...open, click: () => this.#searchWith(variant) }, image);
    const named = (key) => ({ 'aria-label': `${say(key)}, ${say('variant', { n: variant.place })}`, title: say(key) });
    const against = { type: 'button', class: 'icon', ...named('compare') };
    const kept = { type: 'button', class: 'icon', ...named('keep') };
    const saved = { class: 'button icon', href: variant.url, download: variant.file, ...named('download') };
    const show = () => this.compare.show(this.image, variant);
    const keep = (event) => this.#keep(variant, event.currentTarget);
    const tools = node(
      'div',
      { class: 'tools' },
      node('span', { class: 'score', text: variant.score, title: variant.about }),
      node('button', { ...against, click: show }, icon('compare')),
      node('a', saved, icon('download')),
      node('button', { ...kept, click: keep }, icon('keep')),
    );
    return node('li', {}, picked, tools, ...(variant.source ? [this.#sourceLink(variant.source)] : []));
  }

  /** The picture of the library that a variant started from, small and by its name. */
  #sourceLink({ id, path }) {
    const { name } = parts(path);
    const href = write({ q: `id:${short(id)}`, crop: null, k: FEW, see: '', upload: null });
    const label = say('source_link', { name });
    const click = (event) => {
      this.go(event);
      if (event.defaultPrevented) this.dialog.close();
    };
    return node(
      'a',
      { class: 'source', href, title: path, 'aria-label': label, click },
      node('img', { src: api.address(id, 'thumbnail'), alt: '' }),
      node('span', { text: say('source', { name }) }),
    );
  }

  async #searchWith(variant) {
    const file = await this.#file(variant);
    if (!file) return;
    this.compare.close();
    this.search(file);
  }

  async #keep(variant, button) {
    if (button.ariaDisabled) return;
    button.ariaDisabled = 'true';
    const file = await this.#file(variant);
    try {
      if (!file) return;
      await api.keep(file);
      tell(say('kept_variant'));
      this.kept();
    } catch (error) {
      tell(error.detail || say(`problem_${error.status}`));
    } finally {
      button.ariaDisabled = null;
    }
  }

  /** A variant's picture, or null where the server has it no more. */
  async #file(variant) {
    try {
      return new File([await api.variant(variant.id)], variant.file, { type: 'image/png' });
    } catch (error) {
      tell(error.detail || say(`problem_${error.status}`));
      return null;
    }
  }
}
