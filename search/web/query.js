// What is searched for, beside the results: the picture with its crop, and what can be done with it.

import * as api from './api.js';
import { Crop } from './crop.js';
import { byId, leave, node, parts, tell } from './node.js';
import { idOf, isAddress } from './route.js';
import { say } from './words.js';

export class QueryPanel {
  /** crop(box): a box was drawn, or taken away; kept(picture, shown): the picture is in the library,
   * and still what is shown, or not; make(given): variants of it are wanted. */
  constructor({ crop, kept, make }) {
    this.kept = kept;
    this.image = byId('query-image');
    this.stage = byId('stage');
    this.crop = new Crop(byId('crop-frame'), (box) => {
      this.#buttons(box);
      crop(box);
    });
    this.image.alt = say('query_alt');
    this.image.addEventListener('load', () => this.stage.classList.add('ready'));
    this.image.addEventListener('error', () => this.#unshown());
    byId('crop-start').addEventListener('click', () => this.#toggle(crop));
    byId('keep').addEventListener('click', () => this.keep());
    byId('query-make').addEventListener('click', async () => {
      const name = byId('query-name').textContent;
      const blob = this.crop.value && (await cut(this.image, this.crop.value));
      if (blob) make({ source: { blob }, src: this.#cutout(blob), name });
      else make({ source: this.given, src: this.image.src, name });
    });
    byId('copy').addEventListener('click', () => this.#copy());
    byId('copy').hidden = !navigator.clipboard;
  }

  /** Show a route's query. upload: {blobs, name} of pictures that are only in this tab. */
  show(route, upload) {
    const id = idOf(route.q);
    const url = isAddress(route.q) ? route.q : null;
    const several = upload && upload.blobs.length > 1;
    const blob = several ? null : upload?.blobs[0];
    const source = blob ?? url ?? id;
    this.crop.set(route.crop);
    this.source = blob ?? url;
    this.given = blob ? { blob } : id ? { id } : { url };
    this.#several(several ? upload.blobs : []);
    const kind = `query_${upload ? 'upload' : id ? 'id' : url ? 'url' : 'text'}`;
    byId('query-kind').textContent = say(several ? 'several' : kind);
    this.#call(upload ? upload.name : (url ?? (id ? '' : route.q)));
    byId('query-note').hidden = !blob;
    byId('copy').hidden = Boolean(upload) || !navigator.clipboard;
    for (const part of ['stage', 'crop-start', 'query-make', 'crop-note']) byId(part).hidden = !source;
    if (!this.source) leave(byId('keep'), byId('query-make'));
    byId('keep').hidden = !this.source;
    this.#buttons(route.crop);
    if (source !== this.shown) this.#picture(source, id, url);
    if (id) this.#name(id);
  }

  /** Pictures that add up, small, in place of one large. */
  #several(blobs) {
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.urls = blobs.map((blob) => URL.createObjectURL(blob));
    const images = this.urls.map((src, i) => node('img', { src, alt: blobs[i].name }));
    byId('several').replaceChildren(...images.map((image) => node('li', {}, image)));
    byId('several').hidden = !blobs.length;
  }

  /** What is shown is the library's picture with this id, and need not be loaded again; null for
   * nothing. */
  adopt(id) {
    this.shown = id;
  }

  #picture(source, id, url) {
    this.shown = source;
    this.fallen = false;
    this.loading?.abort();
    this.loading = new AbortController();
    this.stage.classList.remove('ready');
    this.image.removeAttribute('src');
    if (source instanceof Blob) this.#put(source);
    else if (id) this.image.src = api.address(id, 'preview');
    else if (url) this.#ask(url);
  }

  #put(blob) {
    if (this.made) URL.revokeObjectURL(this.made);
    this.made = URL.createObjectURL(blob);
    this.image.src = this.made;
    this.stage.hidden = false;
  }

  #cutout(blob) {
    if (this.part) URL.revokeObjectURL(this.part);
    this.part = URL.createObjectURL(blob);
    return this.part;
  }

  /** Have the server make a picture that this browser shows. */
  async #ask(source) {
    this.fallen = true;
    try {
      const blob = await api.preview(source, this.loading.signal);
      if (this.shown === source) this.#put(blob);
    } catch (error) {
      if (error.name !== 'AbortError' && this.shown === source) this.#fail();
    }
  }

  #unshown() {
    if (this.shown instanceof Blob && !this.fallen) this.#ask(this.shown);
    else this.#fail();
  }

  /** There is nothing to look at: the search says what is wrong, and the next try asks again. */
  #fail() {
    this.stage.hidden = true;
    this.shown = null;
  }

  #call(name) {
    byId('query-name').textContent = name;
    document.title = name ? `${name} – ${say('title')}` : say('title');
  }

  async #name(id) {
    try {
      const found = await api.picture(id);
      if (this.given.id === id) this.#call(parts(found.path).name);
    } catch {
      // the search says what is wrong
    }
  }

  #buttons(box) {
    byId('crop-start').lastElementChild.textContent = say(box ? 'crop_clear' : 'crop');
    byId('crop-note').hidden = Boolean(box) || this.stage.hidden;
  }

  #toggle(crop) {
    if (!this.crop.value) {
      this.crop.begin();
      return;
    }
    this.crop.set(null);
    this.#buttons(null);
    crop(null);
  }

  /** Put the picture into the library. */
  async keep() {
    const button = byId('keep');
    const words = button.lastElementChild;
    const { source } = this;
    if (button.ariaDisabled) return;
    button.ariaDisabled = 'true';
    words.textContent = say('keeping');
    try {
      const found = await api.keep(source);
      tell(say('kept'));
      this.kept(found, this.source === source);
    } catch (error) {
      tell(error.detail || say(`problem_${error.status}`));
    } finally {
      button.ariaDisabled = null;
      words.textContent = say('keep');
    }
  }

  async #copy() {
    await navigator.clipboard.writeText(location.href);
    tell(say('copied'));
  }
}

/** A part of an image, as a file. box: [x, y, w, h] in per cent. */
function cut(image, box) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const [x, y, w, h] = box.map((part, i) => Math.round((part / 100) * (i % 2 ? height : width)));
  const canvas = new OffscreenCanvas(Math.max(1, w), Math.max(1, h));
  canvas.getContext('2d').drawImage(image, -x, -y);
  return canvas.convertToBlob();
}
