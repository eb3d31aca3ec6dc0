// Where the hits that are alike end: a divider instead of an answer without an end.

import { getProof } from './evidence.js';

/** @import { Hit } from './api.js' */

/** From this score on, a hit has the pixels of the query, saved anew at most. */
export const SAME = 0.9995;

const FIRST = 20; // hits among which the end is looked for
const LEAST_DROP = 0.04; // relative: below it nothing tells one hit from the next
const LEAST_SCORE = 0.05; // below it a relative drop has no meaning

/**
 * Return how many of the hits are alike: those before the largest relative drop of the scores among
 * the first 20. `scripts/bench cutoff` measures how often it is right. Null if no drop stands out.
 * @param {readonly number[]} scores The best one first, without those of the query's own pictures.
 * @returns {number | null}
 */
export function findCutoff(scores) {
  let best = { drop: LEAST_DROP, count: /** @type {number | null} */ (null) };
  for (let i = 1; i < Math.min(scores.length, FIRST + 1); i += 1) {
    const before = scores[i - 1];
    if (before < LEAST_SCORE) break;
    const drop = (before - scores[i]) / before;
    if (drop > best.drop) best = { drop, count: i };
  }
  return best.count;
}

/**
 * How alike a hit is: a picture of the query itself, its copy, alike, or less alike; blank if it is
 * of one colour, so that its score says nothing; null if no drop of the scores stands out, or if a
 * comparison proves more than a score.
 * @typedef {'own' | 'same' | 'alike' | 'less' | 'blank' | null} Likeness
 */

/**
 * Return how alike each hit is, and how many hits come before the first that is less alike.
 * @param {readonly Pick<Hit, 'id' | 'score' | 'low_content' | 'kind' | 'evidence'>[]} hits The best one first, but for
 *   those of which something is proven.
 * @param {readonly string[]} own Ids of the query's pictures, or their beginnings.
 * @param {number | null} [least] Where the scores are probabilities that a picture fits: from which on it does.
 * @returns {{ likeness: Likeness[], alike: number | null, end: number | null }} alike: how many hits
 *   are alike, without the query's own; end: index of the first that is less alike.
 */
export function classifyHits(hits, own, least = null) {
  if (least !== null) return classifyProbable(hits, least);
  const isOwn = hits.map(({ id }) => own.some((start) => id.startsWith(start)));
  const isProven = hits.map((hit, i) => !isOwn[i] && getProof(hit) !== null);
  const rated = hits.map((_, i) => i).filter((i) => !isOwn[i] && !isProven[i] && !hits[i].low_content);
  const copies = rated.filter((i) => hits[i].score >= SAME).length;
  const cutoff = findCutoff(rated.slice(copies).map((i) => hits[i].score));
  const end = cutoff === null ? null : rated[copies + cutoff];
  const likeness = hits.map(({ score, low_content: isBlank }, i) => {
    if (isOwn[i]) return 'own';
    if (isProven[i]) return null;
    if (isBlank) return 'blank';
    if (score >= SAME) return 'same';
    if (end === null) return null;
    return i < end ? 'alike' : 'less';
  });
  const proven = isProven.filter(Boolean).length;
  return { likeness, alike: cutoff === null ? null : proven + copies + cutoff, end };
}

/**
 * Return the same for scores that are probabilities. A hit before others that fit is there for another reason, such as
 * its name: its score says nothing.
 * @param {readonly Pick<Hit, 'score'>[]} hits
 * @param {number} least
 * @returns {ReturnType<typeof classifyHits>}
 */
function classifyProbable(hits, least) {
  const last = hits.findLastIndex(({ score }) => score >= least);
  /** @type {(score: number, i: number) => Likeness} */
  const classify = (score, i) => (score >= least ? 'alike' : i < last || last < 0 ? null : 'less');
  const likeness = hits.map(({ score }, i) => classify(score, i));
  const alike = likeness.filter((one) => one === 'alike').length;
  return { likeness, alike: alike || null, end: last < 0 || last === hits.length - 1 ? null : last + 1 };
}
