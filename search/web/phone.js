// How a phone of the same network opens the page: a login link as a QR code, for the owner.

import { createElement, getElement } from './dom.js';
import { translate, translator } from './i18n.js';
import { formatProblem, toProblem } from './problems.js';

/** @import { Api } from './api.js' */

export class PhoneLink {
  #api;
  #place = getElement('phone-link');

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
    getElement('phone').addEventListener('click', () => this.#show());
  }

  async #show() {
    try {
      const { urls, qr } = await this.#api.createLink();
      if (!qr) {
        this.#place.replaceChildren(createElement('p', { class: 'hint', text: translate('phone_none') }), createElement('code', { text: 'lookalike serve --host 0.0.0.0' }));
        return;
      }
      const src = `data:image/svg+xml,${encodeURIComponent(qr)}`;
      const image = createElement('img', { class: 'qr', src, alt: translate('phone_code'), width: 220, height: 220 });
      const address = createElement('code', { text: new URL(urls[0]).origin });
      this.#place.replaceChildren(image, createElement('p', { class: 'hint', text: translate('phone_hint') }), address);
    } catch (error) {
      this.#place.replaceChildren(createElement('p', { class: 'error-text', text: formatProblem(toProblem(error), translator) }));
    }
  }
}
