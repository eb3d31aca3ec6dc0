// Pictures of many shapes in rows of one width.

const MIN_RATIO = 0.75;
const MAX_RATIO = 1.9;

/**
 * A row. top and height in pixels; from: index of its first picture.
 * @typedef {object} Row
 * @property {number} top
 * @property {number} height
 * @property {number} from
 * @property {{ left: number, width: number }[]} boxes
 */

/**
 * The shape that a picture is shown in. Extreme ones are cropped, so that each can be seen.
 * @param {{ width: number, height: number }} shape
 */
function getRatio({ width, height }) {
  return Math.min(MAX_RATIO, Math.max(MIN_RATIO, width / height || 1));
}

/**
 * Arrange pictures in rows.
 * @param {readonly { width: number, height: number }[]} shapes
 * @param {number} width Pixels of a row.
 * @param {{ target: number, gap: number, below: number }} spacing Pixels: the height that a row has
 *   about, the gap between pictures, and the room under each for its caption.
 * @returns {{ rows: Row[], height: number }}
 */
export function layoutRows(shapes, width, { target, gap, below }) {
  const rows = /** @type {Row[]} */ ([]);
  let top = 0;
  for (let from = 0; from < shapes.length; ) {
    let sum = 0;
    let to = from;
    while (to < shapes.length && sum * target + gap * (to - from - 1) < width) {
      sum += getRatio(shapes[to]);
      to += 1;
    }
    const room = width - gap * (to - from - 1);
    const before = sum - getRatio(shapes[to - 1]);
    const isFull = sum * target >= room;
    const heightWithoutLast = (width - gap * (to - from - 2)) / before;
    if (isFull && to - from > 1 && heightWithoutLast / target < target / (room / sum)) {
      to -= 1; // the height is nearer to the target without the last one
      sum = before;
    }
    const fitting = (width - gap * (to - from - 1)) / sum;
    const height = Math.round(isFull ? fitting : Math.min(target, fitting));
    const boxes = [];
    let left = 0;
    for (let i = from; i < to; i += 1) {
      const wide = height * getRatio(shapes[i]);
      boxes.push({ left, width: i === to - 1 && isFull ? width - left : wide });
      left += wide + gap;
    }
    rows.push({ top, height, from, boxes });
    top += height + below + gap;
    from = to;
  }
  return { rows, height: Math.max(0, top - gap) };
}

/**
 * Arrange pictures in sections, each of which begins with a row of its own.
 * @param {readonly { width: number, height: number }[]} shapes
 * @param {number} width Pixels of a row.
 * @param {{ target: number, gap: number, below: number }} spacing As `layoutRows` takes it.
 * @param {readonly number[]} starts Indexes of the pictures that begin the sections after the first.
 * @param {number} room Pixels above each of them, for its heading.
 * @returns {{ rows: Row[], height: number, headings: number[] }} headings: their tops in pixels.
 */
export function layoutSections(shapes, width, spacing, starts, room) {
  const edges = [0, ...starts.filter((start) => start > 0 && start < shapes.length), shapes.length];
  const rows = /** @type {Row[]} */ ([]);
  const headings = /** @type {number[]} */ ([]);
  let top = 0;
  for (let i = 0; i + 1 < edges.length; i += 1) {
    if (i) {
      headings.push(top);
      top += room;
    }
    const section = layoutRows(shapes.slice(edges[i], edges[i + 1]), width, spacing);
    for (const row of section.rows) rows.push({ ...row, top: row.top + top, from: row.from + edges[i] });
    top += section.height + spacing.gap;
  }
  return { rows, height: Math.max(0, top - spacing.gap), headings };
}

/**
 * Return the index of the last row whose `property` is at most a value, at least 0.
 * @param {readonly Row[]} rows
 * @param {'top' | 'from'} property
 * @param {number} value
 */
function findLastRow(rows, property, value) {
  let low = 0;
  let high = rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows[middle][property] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * Return the index of the last row that begins at or above `y`.
 * @param {readonly Row[]} rows
 * @param {number} y Pixels.
 */
export function findRowAt(rows, y) {
  return findLastRow(rows, 'top', y);
}

/**
 * Return the index of the row that a picture is in.
 * @param {readonly Row[]} rows
 * @param {number} place Index of the picture.
 */
export function findRowOf(rows, place) {
  return findLastRow(rows, 'from', place);
}

/**
 * Return the picture that is nearest above or below another one.
 * @param {readonly Row[]} rows
 * @param {number} place Index of the picture.
 * @param {number} by -1 for the row above, 1 for the row below.
 * @returns {number | null} Its index, or null if there is no such row.
 */
export function findVertically(rows, place, by) {
  const here = findRowOf(rows, place);
  const there = rows[here + by];
  if (!there) return null;
  const box = rows[here].boxes[place - rows[here].from];
  const middle = box.left + box.width / 2;
  const distances = there.boxes.map(({ left, width }) => Math.abs(left + width / 2 - middle));
  return there.from + distances.indexOf(Math.min(...distances));
}
