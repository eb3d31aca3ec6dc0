// What a close comparison shows of the picture that is shown large, in words.

import { AlignmentDialog } from './alignment.js';
import { createElement, getElement, moveFocus } from './dom.js';
import { describeEvidence, getFinding, hasOutlines } from './evidence.js';
import { translate, translator } from './i18n.js';

/** @import { Item } from './api.js' */
/** @import { QueryPicture } from './alignment.js' */

export class EvidencePanel {
  #section = getElement('detail-evidence');
  #button = getElement('detail-align', HTMLButtonElement);
  #dialog = new AlignmentDialog();
  #getQuery;

  /** @type {Item | undefined} */
  #item;

  /** @param {(what: string) => Promise<QueryPicture | null>} getQuery Loads a picture of the query by what it is. */
  constructor(getQuery) {
    this.#getQuery = getQuery;
    this.#button.addEventListener('click', () => this.#open());
  }

  /**
   * Show what is known of a picture.
   * @param {Item | undefined} item Undefined for one that is not in the list.
   */
  show(item) {
    this.#item = item;
    const finding = item ? getFinding(item) : null;
    const lines = item ? describeEvidence(item, translator) : [];
    this.#section.hidden = !finding && !lines.length;
    const verdict = getElement('evidence-verdict');
    verdict.textContent = finding ? translate(`finding_${finding}`) : '';
    verdict.hidden = !finding;
    getElement('evidence-lines').replaceChildren(...lines.map((text) => createElement('li', { text })));
    const isShowable = hasOutlines(item?.evidence) && item?.evidence?.what !== undefined;
    if (!isShowable) moveFocus(this.#button, getElement('detail-close'));
    this.#button.hidden = !isShowable;
  }

  /** Close what it has opened. */
  close() {
    this.#dialog.close();
  }

  async #open() {
    const item = this.#item;
    const { id, evidence } = item ?? {};
    if (!id || evidence?.what === undefined) return;
    const query = await this.#getQuery(evidence.what);
    if (query && item === this.#item) this.#dialog.show(query, id, evidence);
  }
}
