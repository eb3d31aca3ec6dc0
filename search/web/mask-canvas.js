// A mask on a canvas: strokes that are drawn, erased and taken back. What is covered is opaque.

import { createElement } from './dom.js';
import { COVERED, measureCover } from './mask-math.js';
import { readPixels, writePixels } from './picture-pixels.js';

/** @import { Size, planMask } from './mask-math.js' */
/** @typedef {[number, number]} Point In pixels of the canvas. */

/**
 * A stroke of the brush; null: everything was cleared.
 * @typedef {{ points: Point[], radius: number, isErasing: boolean } | null} Stroke
 */

const INK = '#e0218a'; // on few pictures, and on neither white nor black

export class MaskCanvas {
  #canvas;

  /** What was covered before the first stroke. @type {HTMLCanvasElement | null} */
  #before = null;

  /** @type {Stroke[]} */
  #strokes = [];

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** @returns {Size} */
  get size() {
    return this.#canvas;
  }

  /** Whether there is a stroke to take back. */
  get canUndo() {
    return this.#strokes.length > 0;
  }

  /**
   * Begin a mask.
   * @param {ReturnType<typeof planMask>['part']} part Its size.
   * @param {HTMLCanvasElement | null} before A mask of that part, white where it covers.
   */
  start(part, before) {
    const size = { width: Math.max(1, Math.round(part.width)), height: Math.max(1, Math.round(part.height)) };
    Object.assign(this.#canvas, size);
    this.#strokes = [];
    this.#before = null;
    if (before) {
      const { width, height, data } = readPixels(before);
      for (let i = 0; i < data.length; i += 4) data[i + 3] = data[i] > COVERED ? 255 : 0;
      this.#before = createElement('canvas');
      writePixels(this.#before, { width, height, data });
    }
    this.#drawAll();
  }

  /**
   * Begin a stroke.
   * @param {Point} point
   * @param {number} radius
   * @param {boolean} isErasing
   */
  begin(point, radius, isErasing) {
    this.#strokes.push({ points: [point], radius, isErasing });
    this.#draw(this.#strokes.at(-1) ?? null);
  }

  /**
   * Draw on with the last stroke.
   * @param {readonly Point[]} points
   */
  extend(points) {
    const stroke = this.#strokes.at(-1);
    if (!stroke) return;
    const from = stroke.points.length;
    stroke.points.push(...points);
    this.#draw(stroke, from);
  }

  /** Take the last stroke back. */
  undo() {
    this.#strokes.pop();
    this.#drawAll();
  }

  clear() {
    this.#strokes.push(null);
    this.#draw(null);
  }

  /** Return the share of the canvas that is covered. */
  measure() {
    return measureCover(readPixels(this.#canvas).data);
  }

  /**
   * Return the mask as a file: white where it covers, black elsewhere.
   * @param {ReturnType<typeof planMask>} plan
   * @returns {Promise<Blob>}
   */
  async createFile({ whole, part }) {
    const canvas = createElement('canvas', whole);
    const pen = getPen(canvas);
    pen.drawImage(this.#canvas, part.x, part.y, part.width, part.height);
    pen.globalCompositeOperation = 'source-in';
    fill(pen, '#fff');
    pen.globalCompositeOperation = 'destination-over';
    fill(pen, '#000');
    const blob = await new Promise((resolve) => {
      canvas.toBlob(resolve);
    });
    if (!blob) throw new Error('this browser has no memory for a canvas');
    return blob;
  }

  #drawAll() {
    this.#draw(null);
    if (this.#before) getPen(this.#canvas).drawImage(this.#before, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#tint();
    for (const stroke of this.#strokes) this.#draw(stroke);
  }

  /** Give the ink to what is covered. */
  #tint() {
    const pen = getPen(this.#canvas);
    pen.globalCompositeOperation = 'source-in';
    fill(pen, INK);
  }

  /**
   * @param {Stroke} stroke
   * @param {number} [from] Index of the first point that is not drawn yet.
   */
  #draw(stroke, from = 0) {
    const pen = getPen(this.#canvas);
    if (!stroke) {
      pen.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
      return;
    }
    const { points, radius, isErasing } = stroke;
    pen.globalCompositeOperation = isErasing ? 'destination-out' : 'source-over';
    Object.assign(pen, { fillStyle: INK, strokeStyle: INK, lineWidth: 2 * radius, lineCap: 'round' });
    for (const [i, point] of points.entries()) {
      if (i < from) continue;
      pen.beginPath();
      pen.moveTo(...(points[i - 1] ?? point));
      if (i) pen.lineTo(...point); // each by itself, so that strokes that are drawn again are the same
      else pen.arc(...point, radius, 0, 2 * Math.PI);
      if (i) pen.stroke();
      else pen.fill();
    }
  }
}

/**
 * Return what draws on a canvas.
 * @param {HTMLCanvasElement} canvas
 */
function getPen(canvas) {
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  if (!pen) throw new Error('this browser has no memory for a canvas');
  return pen;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {string} color
 */
function fill(pen, color) {
  Object.assign(pen, { fillStyle: color });
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
}
