// How far variants go from their picture: one slider, sigma, and three regimes along it.

import { byId, node } from './node.js';
import { language, say } from './words.js';

const SIDE = 72; // pixels of a regime's picture
const STEPS = 1000; // of the slider
const DETAIL = 16; // parts of a side that can be told apart under noise of 1
const BELOW = 5; // times below the nearest regime, the slider begins
const NAMES = { near: 'regime_near', same: 'regime_same', concept: 'regime_concept' };

export class Dial {
  /** changed(): it was set to something else. */
  constructor(changed) {
    this.changed = changed;
    this.slider = byId('make-sigma');
    this.slider.max = STEPS;
    this.slider.addEventListener('input', () => this.#moved());
  }

  /** Take what the server allows. sigma: [least, most]; regimes: name -> sigma. */
  fit({ sigma, regimes }) {
    this.regimes = Object.entries(regimes);
    this.least = Math.max(sigma[0], this.regimes[0][1] / BELOW);
    this.most = sigma[1];
    this.cards = this.regimes.map(([name, value]) => this.#card(name, value));
    byId('make-regimes').replaceChildren(...this.cards.map((card) => card.button));
    const marks = this.regimes.map(([, value]) => node('span', {}));
    marks.forEach((mark, i) => {
      mark.style.left = `${(100 * this.#place(this.regimes[i][1])) / STEPS}%`;
    });
    byId('make-marks').replaceChildren(...marks);
    this.#choose(regimes.same);
  }

  /** Draw what the regimes leave of a picture. image: an <img> that is loaded. */
  draw(image) {
    for (const { canvas, sigma } of this.cards ?? []) dimmed(canvas, image, sigma);
  }

  /** What a request says of it: {regime} or {sigma}. */
  get value() {
    const { regime } = this;
    return regime ? { regime } : { sigma: this.sigma };
  }

  /** The regime that it is at, or undefined. */
  get regime() {
    return this.regimes.find(([, sigma]) => sigma === this.sigma)?.[0];
  }

  #card(name, sigma) {
    const canvas = node('canvas', { width: SIDE, height: SIDE, 'aria-hidden': 'true' });
    const choose = () => {
      this.#choose(sigma);
      this.changed();
    };
    const words = node('span', { text: say(NAMES[name]) });
    const button = node('button', { type: 'button', 'data-regime': name, click: choose }, canvas, words);
    return { button, canvas, sigma };
  }

  #choose(sigma) {
    this.slider.value = this.#place(sigma);
    this.#set(sigma);
  }

  #moved() {
    const place = Number(this.slider.value);
    const near = this.regimes.find(([, sigma]) => Math.abs(this.#place(sigma) - place) < STEPS / 80);
    const sigma = this.least * (this.most / this.least) ** (place / STEPS);
    this.#set(near ? near[1] : Number(sigma.toPrecision(3)));
    this.changed();
  }

  #place(sigma) {
    return Math.round((STEPS * Math.log(sigma / this.least)) / Math.log(this.most / this.least));
  }

  #set(sigma) {
    this.sigma = sigma;
    const at = this.regime;
    this.cards.forEach(({ button }, i) => {
      button.setAttribute('aria-pressed', this.regimes[i][0] === at);
    });
    this.#describe();
  }

  /** Say where it is. hidesNoise: leave sigma out, as the server chooses another one. */
  #describe(hidesNoise = false) {
    const form = new Intl.NumberFormat(language, { maximumSignificantDigits: 2 });
    const where = this.#words(this.regime);
    const said = hidesNoise ? where : `${where}, σ ${form.format(this.sigma)}`;
    byId('make-far').textContent = said;
    this.slider.setAttribute('aria-valuetext', said);
  }

  /** Show sigma, or not: variants that start from neighbours have another one. */
  showNoise(isShown) {
    this.#describe(!isShown);
  }

  /** The regime that it is at, or those that it is between. */
  #words(at) {
    if (at) return say(NAMES[at]);
    const after = this.regimes.findIndex(([, sigma]) => sigma > this.sigma);
    if (after === 0) return say('regime_nearer');
    if (after < 0) return say('regime_further');
    const [a, b] = this.regimes.slice(after - 1, after + 1).map(([name]) => say(NAMES[name]));
    return say('regime_between', { a, b });
  }
}

/** Draw the middle of a picture as far as such noise leaves it: the details under it are gone. */
function dimmed(canvas, image, sigma) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const side = Math.min(width, height);
  const least = Math.max(1, Math.min(SIDE, Math.round(DETAIL / sigma)));
  let size = SIDE;
  let made = scaled(image, [(width - side) / 2, (height - side) / 2, side, side], size);
  while (size > least) {
    const next = Math.max(least, Math.ceil(size / 2)); // by halves, so that each pixel counts
    made = scaled(made, [0, 0, size, size], next);
    size = next;
  }
  canvas.getContext('2d').drawImage(scaled(made, [0, 0, size, size], SIDE), 0, 0);
}

/** A square of a picture, over white, at another size. */
function scaled(image, from, size) {
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, size, size);
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, ...from, 0, 0, size, size);
  return canvas;
}
