// The pixels of a picture that is brought onto another one, and what the two differ in. No function
// changes what it gets.

import { isQuadrilateral, movePoint } from './homography.js';

/** @import { Matrix, Point } from './homography.js' */

/**
 * RGBA, row by row, as a canvas has them.
 * @typedef {{ data: Uint8ClampedArray, width: number, height: number }} Pixels
 */

/**
 * A part of a picture, in shares of its sides.
 * @typedef {{ left: number, top: number, width: number, height: number }} Part
 */

export const MAX_PIXELS = 1_000_000;
const MAX_SIDE = 4096; // pixels

/** How many times as strong as they are differences are shown. */
const GAIN = 4;
const LEAST_SIDE = 0.001; // of a part

/** @type {Readonly<Part>} */
const WHOLE = Object.freeze({ left: 0, top: 0, width: 1, height: 1 });

/**
 * Return the largest size of a shape that has at most `MAX_PIXELS` and no long side, and no more than its own.
 * @param {number} width
 * @param {number} height
 */
export function limitSize(width, height) {
  const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / Math.max(width, height));
  return { width: Math.max(1, Math.floor(width * scale)), height: Math.max(1, Math.floor(height * scale)) };
}

/**
 * Return the part of a picture that the other one shows.
 * @param {readonly Point[]} outline Corners of the other one in it. Without a usable one, all of it may be shown.
 * @returns {Part | null} Null if nothing is.
 */
export function findShownPart(outline) {
  if (!isQuadrilateral(outline)) return WHOLE;
  const [left, top] = [0, 1].map((axis) => Math.max(0, Math.min(...outline.map((corner) => corner[axis]))));
  const [right, bottom] = [0, 1].map((axis) => Math.min(1, Math.max(...outline.map((corner) => corner[axis]))));
  const part = { left, top, width: right - left, height: bottom - top };
  return part.width > LEAST_SIDE && part.height > LEAST_SIDE ? part : null;
}

/**
 * Return the size in pixels that a part of a picture has on another one, limited: so it is scaled before it is brought
 * there, since pixels that are skipped would flicker.
 * @param {Part} part
 * @param {Matrix} matrix From shares of the picture to shares of the other one.
 * @param {{ width: number, height: number }} size Of the other one, in pixels.
 */
export function measurePart({ left, top, width, height }, matrix, size) {
  const corners = [[left, top], [left + width, top], [left + width, top + height], [left, top + height]];
  const [a, b, c, d] = corners.map(([x, y]) => {
    const moved = movePoint(matrix, [x, y]);
    return [moved[0] * size.width, moved[1] * size.height];
  });
  /** @type {(from: number[], to: number[]) => number} */
  const measure = (from, to) => Math.hypot(to[0] - from[0], to[1] - from[1]);
  const own = { width: Math.max(measure(a, b), measure(d, c)), height: Math.max(measure(a, d), measure(b, c)) };
  return limitSize(Math.max(1, own.width), Math.max(1, own.height));
}

/**
 * Bring a picture onto another one. Where it has nothing, the result is transparent.
 * @param {Pixels} source A part of the picture.
 * @param {Part} part
 * @param {Matrix} back From shares of the other one to shares of the picture.
 * @param {{ width: number, height: number }} size Of the result, in pixels.
 * @returns {Pixels}
 */
export function warpPixels(source, part, [a, b, c, d, e, f, g, h, i], { width, height }) {
  const data = new Uint8ClampedArray(4 * width * height);
  const [maxX, maxY] = [source.width - 1, source.height - 1];
  for (let row = 0; row < height; row += 1) {
    const y = (row + 0.5) / height;
    for (let column = 0; column < width; column += 1) {
      const x = (column + 0.5) / width;
      const w = g * x + h * y + i;
      const [u, v] = [(a * x + b * y + c) / w, (d * x + e * y + f) / w];
      if (!(u >= 0 && u <= 1 && v >= 0 && v <= 1)) continue;
      const sx = Math.min(maxX, Math.max(0, ((u - part.left) / part.width) * source.width - 0.5));
      const sy = Math.min(maxY, Math.max(0, ((v - part.top) / part.height) * source.height - 0.5));
      const [x0, y0] = [Math.floor(sx), Math.floor(sy)];
      const [right, down] = [sx - x0, sy - y0];
      const first = 4 * (y0 * source.width + x0);
      const across = x0 < maxX ? 4 : 0;
      const below = y0 < maxY ? 4 * source.width : 0;
      const to = 4 * (row * width + column);
      for (let channel = 0; channel < 3; channel += 1) {
        const at = first + channel;
        const upper = source.data[at] * (1 - right) + source.data[at + across] * right;
        const lower = source.data[at + below] * (1 - right) + source.data[at + below + across] * right;
        data[to + channel] = upper * (1 - down) + lower * down;
      }
      data[to + 3] = 255;
    }
  }
  return { data, width, height };
}

/**
 * Return the absolute difference of two pictures of one size, made stronger, and its mean, 0 to 1, as it is. Where the
 * first one is transparent there is none; the mean is null if there is none anywhere.
 * @param {Pixels} warped
 * @param {Pixels} other
 * @returns {{ pixels: Pixels, mean: number | null }}
 */
export function subtractPixels(warped, other) {
  const data = new Uint8ClampedArray(warped.data.length);
  let [sum, count] = [0, 0];
  for (let at = 0; at < data.length; at += 4) {
    if (!warped.data[at + 3]) continue;
    for (let channel = at; channel < at + 3; channel += 1) {
      const difference = Math.abs(warped.data[channel] - other.data[channel]);
      data[channel] = GAIN * difference;
      sum += difference;
    }
    data[at + 3] = 255;
    count += 1;
  }
  return { pixels: { data, width: warped.width, height: warped.height }, mean: count ? sum / (3 * 255 * count) : null };
}
