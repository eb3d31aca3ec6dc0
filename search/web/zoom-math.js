// The place of a picture in a window that it is zoomed in. No function changes what it gets.

import { clamp } from './crop-math.js';

export const MAX_SCALE = 16;

/**
 * How a picture is shown: enlarged from the size that fits, with its middle moved by pixels.
 * @typedef {{ scale: number, x: number, y: number }} View
 */

/** @typedef {{ width: number, height: number }} Size In pixels. */

/** @type {Readonly<View>} */
export const WHOLE = Object.freeze({ scale: 1, x: 0, y: 0 });

/**
 * Limit a view, so that the picture does not leave the window.
 * @param {View} view
 * @param {Size} picture As it is shown at scale 1.
 * @param {Size} room
 * @returns {View}
 */
export function limitView({ scale, x, y }, picture, room) {
  const size = clamp(scale, 1, MAX_SCALE);
  const right = Math.max(0, (picture.width * size - room.width) / 2);
  const down = Math.max(0, (picture.height * size - room.height) / 2);
  return { scale: size, x: clamp(x, -right, right) + 0, y: clamp(y, -down, down) + 0 };
}

/**
 * Zoom by a factor at a point, which stays where it is.
 * @param {View} view
 * @param {number} factor
 * @param {{ x: number, y: number }} point In pixels from the middle of the window.
 * @returns {View}
 */
export function zoomAt({ scale, x, y }, factor, point) {
  const next = clamp(scale * factor, 1, MAX_SCALE);
  const ratio = next / scale;
  return { scale: next, x: point.x - (point.x - x) * ratio, y: point.y - (point.y - y) * ratio };
}

/**
 * Return whether a movement of a finger is a swipe to the side: -1 to the right, which shows the
 * previous picture, 1 to the left, or 0.
 * @param {number} x Pixels.
 * @param {number} y
 * @returns {-1 | 0 | 1}
 */
export function readSwipe(x, y) {
  if (Math.abs(x) < 48 || Math.abs(x) < 1.5 * Math.abs(y)) return 0;
  return x > 0 ? -1 : 1;
}
