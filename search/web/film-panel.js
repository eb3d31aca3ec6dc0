// The film that the shown picture is a moment of: a strip of its frames, and a player that starts there.

import { getAddress } from './api.js';
import { createElement, getElement } from './dom.js';
import { formatClock } from './film-time.js';
import { translate } from './i18n.js';
import { isAbort } from './problems.js';

/** @import { Api, Image, Moment } from './api.js' */

export class FilmPanel {
  #api;
  #onShow;
  #panel = getElement('detail-film');
  #play = getElement('detail-play', HTMLButtonElement);
  #video = getElement('detail-video', HTMLVideoElement);
  #strip = getElement('detail-strip');
  #unplayable = getElement('detail-unplayable');
  #id = '';
  #time = 0;

  /**
   * @param {Api} api
   * @param {(id: string) => void} onShow Called to show another frame.
   */
  constructor(api, onShow) {
    this.#api = api;
    this.#onShow = onShow;
    this.#play.addEventListener('click', () => this.#start());
    this.#video.addEventListener('error', () => {
      if (this.#video.hasAttribute('src')) this.#stop(true);
    });
    this.#video.addEventListener('loadedmetadata', () => {
      // a film of which the browser has only the sound
      if (!this.#video.videoWidth) this.#stop(true);
    });
  }

  /** Take the film away, as another picture comes. */
  close() {
    this.#stop(false);
    this.#panel.hidden = true;
    this.#strip.replaceChildren();
  }

  /**
   * Show the film of a picture, if it is a frame of one.
   * @param {Image} image
   * @param {AbortSignal} signal
   */
  async show(image, signal) {
    if (image.time === null) return;
    this.#id = image.id;
    this.#time = image.time;
    getElement('detail-play-text').textContent = translate('film_play', { time: formatClock(image.time) });
    this.#play.hidden = false;
    this.#panel.hidden = false;
    try {
      const { frames } = await this.#api.fetchFrames(image.id, signal);
      if (signal.aborted) return;
      this.#strip.replaceChildren(...frames.map((one) => this.#createMoment(one, one.id === image.id)));
      this.#strip.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
    } catch (error) {
      if (!isAbort(error)) this.#strip.replaceChildren(); // the picture is shown without
    }
  }

  /**
   * @param {Moment} moment
   * @param {boolean} isShown
   */
  #createMoment({ id, time }, isShown) {
    const clock = formatClock(time);
    const image = createElement('img', { alt: '', loading: 'lazy', decoding: 'async', src: getAddress(id, 'thumbnail') });
    const label = translate('film_moment', { time: clock });
    const properties = { type: 'button', 'aria-label': label, 'aria-current': isShown ? 'true' : null };
    const button = createElement('button', { ...properties, click: () => this.#choose(id, time) }, image, createElement('span', { text: clock }));
    return createElement('li', {}, button);
  }

  /**
   * Play from a frame if the film plays, else show the frame.
   * @param {string} id
   * @param {number} time
   */
  #choose(id, time) {
    if (this.#video.hidden) this.#onShow(id);
    else this.#video.currentTime = time;
  }

  #start() {
    this.#play.hidden = true;
    this.#unplayable.hidden = true;
    this.#video.hidden = false;
    this.#video.src = `${getAddress(this.#id, 'file')}#t=${this.#time}`;
    this.#video.focus();
    this.#video.play().catch(() => {}); // `error` tells why
  }

  /** @param {boolean} isUnplayable The browser cannot show the film. */
  #stop(isUnplayable) {
    this.#video.pause();
    this.#video.removeAttribute('src');
    this.#video.load();
    this.#video.hidden = true;
    this.#unplayable.hidden = !isUnplayable;
  }
}
