// One picture, large, with its facts.

import * as api from './api.js';
import { breaking, browsers, byId, leave, node, parts } from './node.js';
import { write, short } from './route.js';
import { bytes, knows, moment, percent, say } from './words.js';

export class Detail {
  /** close(): it is to be closed; step(by): another picture; go(event): a link to results;
   * make(given): variants of it are wanted. */
  constructor({ close, step, go, make }) {
    this.dialog = byId('detail');
    this.image = byId('detail-image');
    this.dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      close();
    });
    this.dialog.addEventListener('close', () => {
      if (this.id) close(); // the browser closed it by itself
    });
    this.dialog.addEventListener('click', (event) => {
      if (event.target === this.dialog || event.target.id === 'detail-stage') close();
    });
    this.dialog.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by && !browsers(event)) step(by);
    });
    byId('detail-close').addEventListener('click', close);
    byId('detail-previous').addEventListener('click', () => step(-1));
    byId('detail-next').addEventListener('click', () => step(1));
    byId('detail-similar').addEventListener('click', go);
    byId('detail-make').addEventListener('click', () => {
      make({ source: { id: this.id }, src: this.image.src, name: this.image.alt });
    });
    this.image.addEventListener('load', () => this.image.classList.add('ready'));
    this.image.addEventListener('error', () => {
      byId('detail-gone').hidden = false;
    });
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** Whether there is a picture before and one after. */
  ends(before, after) {
    for (const [name, there] of [['previous', before], ['next', after]]) {
      const button = byId(`detail-${name}`);
      if (!there) leave(button, byId('detail-close'));
      button.disabled = !there;
    }
  }

  /** id: whole or its beginning; hit: with its score, if it is a result. */
  async show(id, hit) {
    this.loading?.abort();
    this.loading = new AbortController();
    this.id = id;
    byId('detail-gone').hidden = true;
    this.image.classList.remove('ready');
    this.image.alt = '';
    this.image.src = api.address(id, 'preview');
    const like = write({ q: `id:${short(id)}`, crop: null, k: 200, see: '', upload: null });
    byId('detail-similar').href = like;
    byId('detail-file').href = api.address(id, 'file');
    byId('detail-facts').replaceChildren();
    byId('detail-exif').hidden = true;
    const path = parts(hit?.path ?? '');
    this.#title(path);
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const found = await api.picture(id, this.loading.signal);
      this.#title(parts(found.path));
      this.#facts(found, hit?.score);
    } catch (error) {
      if (error.name === 'AbortError') return;
      const text = error.detail || say(knows(`problem_${error.status}`) ? `problem_${error.status}` : 'problem');
      byId('detail-facts').replaceChildren(node('p', { role: 'alert', text }));
    }
  }

  close() {
    this.id = null;
    this.loading?.abort();
    this.image.removeAttribute('src');
    this.dialog.close();
  }

  #title({ name }) {
    byId('detail-name').textContent = name || say('picture');
    this.image.alt = name || say('picture');
  }

  #facts(found, score) {
    const place = found.latitude !== null && found.longitude !== null;
    const rows = [
      ['score', score === undefined ? null : score.toFixed(3)],
      ['size', `${say('megapixels', { w: String(found.width), h: String(found.height) })}, ${bytes(found.bytes)}`],
      ['type', found.type.toUpperCase()],
      ['taken', found.taken && moment(found.taken)],
      ['camera', found.camera],
      ['place', place && `${found.latitude.toFixed(5)}, ${found.longitude.toFixed(5)}`],
      ['palette', found.palette.length && swatches(found.palette)],
      ['labels', found.labels.map(({ name, score }) => `${name} ${percent(score)}`).join(', ')],
      ['content', found.low_content && say('blank')],
      ['tags', found.tags.join(', ')],
      ['path', breaking(parts(found.path).folder)],
      ...found.paths.filter((path) => path !== found.path).map((path) => ['also', breaking(path)]),
      ['id', node('code', { text: short(found.id), title: found.id })],
    ];
    const shown = rows.filter(([, value]) => value);
    byId('detail-facts').replaceChildren(...shown.flatMap(([name, value]) => fact(say(`fact_${name}`), value)));
    const exif = Object.entries(found.exif);
    byId('detail-exif').hidden = !exif.length;
    byId('detail-exif').open = false;
    byId('detail-tags').replaceChildren(...exif.flatMap(([name, value]) => fact(name, String(value))));
  }
}

function fact(name, value) {
  return [node('dt', { text: name }), node('dd', {}, ...[value].flat())];
}

function swatches(palette) {
  const list = node('span', { class: 'swatches' });
  for (const colour of palette) {
    const one = node('span', { role: 'img', 'aria-label': colour, title: colour });
    one.style.background = colour;
    list.append(one);
  }
  return list;
}

