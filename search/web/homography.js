// The projective transform that takes one picture onto another. No function changes what it gets.

/** @typedef {readonly [number, number]} Point */

/**
 * Rows of a 3x3 matrix.
 * @typedef {readonly [number, number, number, number, number, number, number, number, number]} Matrix
 */

const LEAST_AREA = 1e-6; // of a quadrilateral, as a share of the picture that it is in

/**
 * Return whether corners make a quadrilateral that a picture can be taken onto: convex, finite, not a line.
 * @param {readonly Point[]} corners
 */
export function isQuadrilateral(corners) {
  if (corners.length !== 4 || !corners.flat().every(Number.isFinite)) return false;
  const turns = corners.map((a, i) => measureTurn(a, corners[(i + 1) % 4], corners[(i + 2) % 4]));
  return turns.every((turn) => turn > LEAST_AREA) || turns.every((turn) => turn < -LEAST_AREA);
}

/**
 * Return the transform of the unit square onto a quadrilateral (P. Heckbert, Fundamentals of Texture Mapping and Image
 * Warping, 1989, section 2.2.3). Null if the corners make none.
 * @param {readonly Point[]} corners Where (0, 0), (1, 0), (1, 1) and (0, 1) come to.
 * @returns {Matrix | null}
 */
export function findHomography(corners) {
  if (!isQuadrilateral(corners)) return null;
  const [[x0, y0], [x1, y1], [x2, y2], [x3, y3]] = corners;
  const [dx1, dx2, dx3] = [x1 - x2, x3 - x2, x0 - x1 + x2 - x3];
  const [dy1, dy2, dy3] = [y1 - y2, y3 - y2, y0 - y1 + y2 - y3];
  const area = dx1 * dy2 - dx2 * dy1;
  const g = (dx3 * dy2 - dx2 * dy3) / area;
  const h = (dx1 * dy3 - dx3 * dy1) / area;
  return [x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h, 1];
}

/**
 * Return the transform back, up to a factor.
 * @param {Matrix} matrix
 * @returns {Matrix}
 */
export function invertHomography([a, b, c, d, e, f, g, h, i]) {
  return [
    e * i - f * h, c * h - b * i, b * f - c * e,
    f * g - d * i, a * i - c * g, c * d - a * f,
    d * h - e * g, b * g - a * h, a * e - b * d,
  ];
}

/**
 * Return where a point comes to.
 * @param {Matrix} matrix
 * @param {Point} point
 * @returns {[number, number]}
 */
export function movePoint([a, b, c, d, e, f, g, h, i], [x, y]) {
  const w = g * x + h * y + i;
  return [(a * x + b * y + c) / w, (d * x + e * y + f) / w];
}

/**
 * @param {Point} a
 * @param {Point} b
 * @param {Point} c
 */
function measureTurn([ax, ay], [bx, by], [cx, cy]) {
  return (bx - ax) * (cy - by) - (by - ay) * (cx - bx);
}
