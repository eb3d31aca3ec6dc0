// Boxes on a picture, in per cent of it. No function changes the box that it gets.

/** @import { Box } from './route.js' */

export const MIN_SIDE = 4;
const FULL = 99.5; // from here on a side counts as the whole picture

/**
 * A corner: north or south, west or east.
 * @typedef {'nw' | 'ne' | 'sw' | 'se'} Corner
 */

/**
 * Limit a value to a range.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/**
 * Return the box between two points.
 * @param {readonly [number, number]} from
 * @param {readonly [number, number]} to
 * @returns {Box}
 */
export function spanBox([fromX, fromY], [toX, toY]) {
  return [Math.min(fromX, toX), Math.min(fromY, toY), Math.abs(toX - fromX), Math.abs(toY - fromY)];
}

/**
 * Move a box, as far as the picture reaches.
 * @param {Box} box
 * @param {number} right
 * @param {number} down
 * @returns {Box}
 */
export function moveBox([x, y, width, height], right, down) {
  return [clamp(x + right, 0, 100 - width), clamp(y + down, 0, 100 - height), width, height];
}

/**
 * Move a corner to a point. The box keeps a least size.
 * @param {Box} box
 * @param {Corner} corner
 * @param {readonly [number, number]} to
 * @returns {Box}
 */
export function resizeBox([x, y, width, height], corner, [toX, toY]) {
  let left = x;
  let top = y;
  let right = x + width;
  let bottom = y + height;
  if (corner.includes('w')) left = clamp(toX, 0, right - MIN_SIDE);
  else right = clamp(toX, left + MIN_SIDE, 100);
  if (corner.includes('n')) top = clamp(toY, 0, bottom - MIN_SIDE);
  else bottom = clamp(toY, top + MIN_SIDE, 100);
  return [left, top, right - left, bottom - top];
}

/**
 * Return where a corner is.
 * @param {Box} box
 * @param {Corner} corner
 * @returns {[number, number]}
 */
export function getCorner([x, y, width, height], corner) {
  return [x + (corner.includes('e') ? width : 0), y + (corner.includes('s') ? height : 0)];
}

/**
 * Return whether a box is too small to be meant.
 * @param {Box} box
 */
export function isTooSmall([, , width, height]) {
  return width < MIN_SIDE || height < MIN_SIDE;
}

/**
 * Round a box to hundredths. Null if it is the whole picture.
 * @param {Box} box
 * @returns {Box | null}
 */
export function roundBox(box) {
  if (box[2] > FULL && box[3] > FULL) return null;
  return /** @type {Box} */ (box.map((part) => Math.round(part * 100) / 100));
}

/**
 * Return a box in pixels of an image.
 * @param {Box} box
 * @param {number} width Pixels of the image.
 * @param {number} height
 * @returns {Box} Width and height at least 1.
 */
export function toPixels(box, width, height) {
  const [x, y, w, h] = box.map((part, i) => Math.round((part / 100) * (i % 2 ? height : width)));
  return [x, y, Math.max(1, w), Math.max(1, h)];
}
