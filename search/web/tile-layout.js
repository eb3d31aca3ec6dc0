// The size of variants, so that all can be seen at once and are as large as possible.

const AROUND = 56; // pixels of the panel that are not for pictures
const GAP = 16; // pixels
const TOOLS = 40; // pixels under each picture
const SOURCE = 38; // pixels of the line that names the picture that it started from
const MIN_WIDTH = 116; // pixels of a picture
const MIN_RATIO = 0.5;
const MAX_RATIO = 2.5;

/**
 * Return the shape that a picture is shown in.
 * @param {number} width
 * @param {number} height
 */
export function getTileRatio(width, height) {
  return Math.min(MAX_RATIO, Math.max(MIN_RATIO, width / height || 1));
}

/**
 * Choose the number of columns and the width of the pictures in pixels.
 * @param {{ width: number, height: number }} panel Pixels.
 * @param {number} count Number of pictures.
 * @param {number} ratio Their shape.
 * @param {boolean} hasSources Whether each has a line with its source.
 */
export function chooseColumns(panel, count, ratio, hasSources) {
  const below = TOOLS + (hasSources ? SOURCE : 0);
  let best = { columns: 1, width: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const row = (panel.height - AROUND) / Math.ceil(count / columns);
    const width = Math.min((panel.width - AROUND) / columns - GAP, (row - below - GAP) * ratio);
    if (width > best.width) best = { columns, width };
  }
  return { columns: best.columns, width: Math.max(MIN_WIDTH, Math.floor(best.width)) };
}
