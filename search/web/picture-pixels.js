// Pictures of the page as canvases, at most so large that they are computed with at once.

import { toPixels } from './crop-math.js';
import { createElement } from './dom.js';
import { limitSize } from './warp.js';

/** @import { Box } from './route.js' */
/** @import { Part, Pixels } from './warp.js' */

/**
 * Load a picture. Raises an error if the browser cannot show it.
 * @param {string} address
 * @param {Box | null} [crop] The part that is wanted.
 * @returns {Promise<HTMLImageElement | HTMLCanvasElement>}
 */
export async function loadPicture(address, crop = null) {
  const image = createElement('img', { src: address });
  await image.decode();
  if (!crop) return image;
  const [x, y, width, height] = toPixels(crop, image.naturalWidth, image.naturalHeight);
  const canvas = createElement('canvas', limitSize(width, height));
  canvas.getContext('2d')?.drawImage(image, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/**
 * Return the size of a picture in pixels, limited to what is computed with.
 * @param {HTMLImageElement | HTMLCanvasElement} picture
 */
export function measurePicture(picture) {
  const { width, height } = getSize(picture);
  return limitSize(width, height);
}

/**
 * Draw a part of a picture, or all of it, in a size.
 * @param {HTMLCanvasElement} canvas It gets that size.
 * @param {HTMLImageElement | HTMLCanvasElement} picture
 * @param {{ width: number, height: number }} size In pixels.
 * @param {Part} [part]
 */
export function drawPicture(canvas, picture, size, part = { left: 0, top: 0, width: 1, height: 1 }) {
  const { width, height } = getSize(picture);
  setSize(canvas, size);
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  if (!pen) return;
  pen.imageSmoothingQuality = 'high';
  const from = /** @type {const} */ ([part.left * width, part.top * height, part.width * width, part.height * height]);
  pen.drawImage(picture, ...from, 0, 0, size.width, size.height);
}

/**
 * Return the pixels of a canvas.
 * @param {HTMLCanvasElement} canvas
 * @returns {Pixels}
 */
export function readPixels(canvas) {
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  if (!pen) throw new Error('this browser has no memory for a canvas');
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}

/**
 * Show pixels on a canvas, in their size.
 * @param {HTMLCanvasElement} canvas
 * @param {Pixels} pixels
 */
export function writePixels(canvas, pixels) {
  setSize(canvas, pixels);
  const data = new ImageData(pixels.width, pixels.height);
  data.data.set(pixels.data);
  canvas.getContext('2d')?.putImageData(data, 0, 0);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{ width: number, height: number }} size
 */
function setSize(canvas, { width, height }) {
  Object.assign(canvas, { width, height });
}

/** @param {HTMLImageElement | HTMLCanvasElement} picture */
function getSize(picture) {
  const isImage = picture instanceof HTMLImageElement;
  const width = isImage ? picture.naturalWidth : picture.width;
  const height = isImage ? picture.naturalHeight : picture.height;
  return { width: width || 1, height: height || 1 };
}
