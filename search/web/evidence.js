// What a close comparison shows of a hit. No function changes what it gets.

/** @import { Evidence, Hit, Item } from './api.js' */
/** @import { Translator } from './i18n.js' */

/**
 * What is proven of a hit: the same pixels, the same picture changed, the same object photographed again, or nothing.
 * @typedef {'identical' | 'edited' | 'photographed_again' | 'alike'} Finding
 */

/** @typedef {Pick<Item, 'kind' | 'evidence' | 'probability'>} Compared */

/**
 * Return what is proven of a hit; null if it was not compared.
 * @param {Compared} item
 * @returns {Finding | null}
 */
export function getFinding({ kind, evidence }) {
  return kind === 'identical' ? kind : (evidence?.verdict ?? null);
}

/**
 * Return what a tile says of a hit: what is proven, unless it has the pixels of the query or is merely alike.
 * @param {Compared} item
 * @returns {'edited' | 'photographed_again' | null}
 */
export function getProof(item) {
  const finding = getFinding(item);
  return finding === 'edited' || finding === 'photographed_again' ? finding : null;
}

/**
 * Count the hits of which something is proven.
 * @param {readonly Hit[]} hits
 */
export function countProofs(hits) {
  const proofs = hits.map(getProof);
  return {
    edited: proofs.filter((proof) => proof === 'edited').length,
    photographed_again: proofs.filter((proof) => proof === 'photographed_again').length,
  };
}

/**
 * Return hits whose evidence names the picture of the route that each was compared with. A query has the pictures of
 * its route in their order, and may have its words at other places.
 * @param {readonly Hit[]} hits
 * @param {readonly { image?: unknown }[]} sent Terms of the query, as the answer has them.
 * @param {readonly string[]} pictures What the pictures of the route are.
 * @returns {Hit[]}
 */
export function nameCompared(hits, sent, pictures) {
  const places = sent.flatMap(({ image }, i) => (image === undefined || image === null ? [] : [i]));
  return hits.map((hit) => {
    const what = pictures[places.indexOf(hit.evidence?.term ?? -1)];
    return hit.evidence && what !== undefined ? { ...hit, evidence: { ...hit.evidence, what } } : hit;
  });
}

/**
 * Return whether it is known where two pictures lie on each other.
 * @param {Evidence | null | undefined} evidence
 */
export function hasOutlines(evidence) {
  return Boolean(evidence?.hit_outline && evidence.query_outline);
}

/**
 * Describe what is known of a hit beside what is proven.
 * @param {Compared} item
 * @param {Translator} translator
 * @returns {string[]} Sentences; none if nothing is known.
 */
export function describeEvidence({ evidence, probability }, { translate, formatPercent }) {
  const lines = [];
  if (evidence && hasOutlines(evidence)) {
    const query = formatPercent(evidence.query_overlap);
    lines.push(translate('evidence_overlap', { query, hit: formatPercent(evidence.hit_overlap) }));
    if (evidence.mirrored) lines.push(translate('evidence_mirrored'));
  }
  if (typeof probability === 'number') {
    lines.push(translate('evidence_probability', { share: formatShare(probability, formatPercent) }));
  }
  return lines;
}

/**
 * Format a probability: what is rounded to certainty is not certain.
 * @param {number} probability
 * @param {(share: number) => string} formatPercent
 */
function formatShare(probability, formatPercent) {
  if (probability > 0.995) return `> ${formatPercent(0.99)}`;
  return probability < 0.005 ? `< ${formatPercent(0.01)}` : formatPercent(probability);
}

/**
 * Return an outline as the path of a drawing that is one unit wide and high.
 * @param {readonly (readonly [number, number])[]} corners
 */
export function formatPath(corners) {
  return corners.flat().every(Number.isFinite) ? `M${corners.map((corner) => corner.join(' ')).join('L')}Z` : '';
}
