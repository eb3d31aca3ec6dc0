// Pictures of many shapes -> rows of one width, as a pure function.

const NARROWEST = 0.75;
const WIDEST = 1.9;

/** The shape that a picture is shown in: extreme ones are cut, so that each can be seen. */
function ratio({ width, height }) {
  return Math.min(WIDEST, Math.max(NARROWEST, width / height || 1));
}

/**
 * Rows of boxes. shapes: {width, height} of each picture; width: of a row; target: height that a
 * row has about; gap: between pictures; below: room under each for its caption, all in pixels.
 * Returns {rows: [{top, height, from, boxes: [{left, width}]}], height}.
 */
export function layout(shapes, width, { target, gap, below }) {
  const rows = [];
  let top = 0;
  for (let from = 0; from < shapes.length; ) {
    let sum = 0;
    let to = from;
    while (to < shapes.length && sum * target + gap * (to - from - 1) < width) {
      sum += ratio(shapes[to]);
      to += 1;
    }
    const room = width - gap * (to - from - 1);
    const before = sum - ratio(shapes[to - 1]);
    const full = sum * target >= room;
    const without = (width - gap * (to - from - 2)) / before;
    if (full && to - from > 1 && without / target < target / (room / sum)) {
      to -= 1; // nearer to the height that is wanted without the last one
      sum = before;
    }
    const fitting = (width - gap * (to - from - 1)) / sum;
    const height = Math.round(full ? fitting : Math.min(target, fitting));
    const boxes = [];
    let left = 0;
    for (let i = from; i < to; i += 1) {
      const wide = height * ratio(shapes[i]);
      boxes.push({ left, width: i === to - 1 && full ? width - left : wide });
      left += wide + gap;
    }
    rows.push({ top, height, from, boxes });
    top += height + below + gap;
    from = to;
  }
  return { rows, height: Math.max(0, top - gap) };
}

/** The place in `rows` of the last that begins at or above `y`. */
export function rowAt(rows, y) {
  let low = 0;
  let high = rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows[middle].top <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}
