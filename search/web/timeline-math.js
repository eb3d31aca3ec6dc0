// The timeline of a library by date: where each month is on it.

/**
 * A month of the list. month: `YYYY-MM`, or null for pictures without a date. from, to: its part of
 * the timeline, 0 to 1 from the first to the last picture.
 * @typedef {{ month: string | null, count: number, from: number, to: number }} Span
 */

const LEAST = 0.25; // of an even share: so that a month with few pictures can be reached

/**
 * Arrange months on the timeline. Their lengths grow with the root of their counts.
 * @param {readonly { month: string | null, count: number }[]} months Newest first, without a date last.
 * @param {boolean} isOldestFirst
 * @returns {Span[]}
 */
export function arrangeMonths(months, isOldestFirst) {
  const dated = months.filter(({ month }) => month);
  const undated = months.filter(({ month }) => !month);
  const ordered = [...(isOldestFirst ? dated.reverse() : dated), ...undated];
  const roots = ordered.map(({ count }) => Math.sqrt(count));
  const even = roots.reduce((sum, root) => sum + root, 0) / Math.max(1, roots.length);
  const lengths = roots.map((root) => Math.max(LEAST * even, root));
  const whole = lengths.reduce((sum, length) => sum + length, 0);
  let end = 0;
  return ordered.map(({ month, count }, i) => {
    const from = end;
    end += lengths[i] / whole;
    return { month, count, from, to: i === ordered.length - 1 ? 1 : end };
  });
}

/**
 * Return the index of the month at a place of the timeline.
 * @param {readonly Span[]} spans
 * @param {number} share 0 to 1; places beyond count as the ends.
 */
export function findSpan(spans, share) {
  const index = spans.findIndex(({ to }) => share < to);
  return index < 0 ? spans.length - 1 : index;
}

/**
 * Return the index of the month after so many months, or the first one of another year.
 * @param {readonly Span[]} spans
 * @param {number} index
 * @param {number} by Steps; negative to the beginning.
 * @param {boolean} isByYear
 */
export function stepSpan(spans, index, by, isByYear) {
  const last = spans.length - 1;
  if (!isByYear) return Math.min(last, Math.max(0, index + by));
  const years = spans.map(getYear);
  let to = index;
  if (by > 0) while (to < last && years[to] === years[index]) to += 1;
  else {
    while (to > 0 && years[to] === years[index]) to -= 1;
    while (to > 0 && years[to - 1] === years[to]) to -= 1;
  }
  return to;
}

/**
 * Return the years that are written beside the timeline, where there is room.
 * @param {readonly Span[]} spans
 * @param {number} height Pixels.
 * @param {number} room Pixels of a year.
 * @returns {{ year: string, place: number }[]} place: 0 to 1.
 */
export function placeYears(spans, height, room) {
  const years = /** @type {{ year: string, place: number }[]} */ ([]);
  for (const [i, span] of spans.entries()) {
    const year = getYear(span);
    if (!year || (i && getYear(spans[i - 1]) === year)) continue;
    const before = years.at(-1);
    if (!before || (span.from - before.place) * height >= room) years.push({ year, place: span.from });
  }
  return years;
}

/** @param {Pick<Span, 'month'>} span */
function getYear({ month }) {
  return month?.slice(0, 4) ?? '';
}
