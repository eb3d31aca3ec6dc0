// Sizes of a mask and of the brush that draws it.

/** @import { Box } from './route.js' */
/** @typedef {{ width: number, height: number }} Size */

const SHORT = 512; // pixels of the sides of a picture of a query, at most, as the server decodes it
const LONG = 2048;
const LARGEST_BRUSH = 60; // per cent of the short side
const SMALLEST_BRUSH = 2;

/** Share of a mask that a pixel has to cover to count, of 255. The server has the same. */
export const COVERED = 127;

/**
 * Return the size of a mask, and which part of it is drawn on. The mask is as large as the server decodes the picture,
 * not as its file: that would be many megabytes, which the server scales down again.
 * @param {Size} picture The upright picture in pixels.
 * @param {Box | null} crop The part that is searched by.
 * @returns {{ whole: Size, part: Size & { x: number, y: number } }} x, y: of the upper left corner of the part.
 */
export function planMask(picture, crop) {
  const [left, top, across, down] = (crop ?? [0, 0, 100, 100]).map((share) => share / 100);
  const sides = [picture.width * across, picture.height * down];
  const scale = Math.min(1, SHORT / Math.min(...sides), LONG / Math.max(...sides));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const part = { x: left * width, y: top * height, width: across * width, height: down * height };
  return { whole: { width, height }, part };
}

/**
 * Return the next size of the brush, larger or smaller by a fifth.
 * @param {number} size Per cent of the short side.
 * @param {number} by -1 or 1
 */
export function stepBrush(size, by) {
  const next = size + by * Math.max(1, Math.round(size / 5));
  return Math.min(LARGEST_BRUSH, Math.max(SMALLEST_BRUSH, next));
}

/**
 * Return the share of pixels that a mask covers.
 * @param {Uint8ClampedArray} pixels RGBA.
 */
export function measureCover(pixels) {
  let covered = 0;
  for (let i = 3; i < pixels.length; i += 4) if (pixels[i] > COVERED) covered += 1;
  return covered / (pixels.length / 4);
}
