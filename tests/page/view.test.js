import assert from 'node:assert/strict';
import { test } from 'node:test';

import { describeExposure, describeLens, formatPlace, quoteValue, readNumber } from '../../search/web/exposure.js';
import { createTranslator } from '../../search/web/i18n.js';
import { fitPicture, placeLine } from '../../search/web/text-math.js';
import { WHOLE, limitView, readSwipe, zoomAt } from '../../search/web/zoom-math.js';

const translator = createTranslator(['en']);

test('zooming keeps the point under the pointer', () => {
  const view = zoomAt({ scale: 2, x: 30, y: -10 }, 1.5, { x: 100, y: 50 });
  assert.equal(view.scale, 3);
  // the picture's own point: (point - offset) / scale
  assert.equal((100 - view.x) / view.scale, (100 - 30) / 2);
  assert.equal((50 - view.y) / view.scale, (50 + 10) / 2);
});

test('a picture is never smaller than whole, and never leaves the window', () => {
  const picture = { width: 400, height: 200 };
  const room = { width: 500, height: 300 };
  assert.deepEqual(limitView({ scale: 0.2, x: 50, y: 50 }, picture, room), { ...WHOLE });
  assert.deepEqual(limitView({ scale: 2, x: 999, y: -999 }, picture, room), { scale: 2, x: 150, y: -50 });
  assert.equal(limitView({ scale: 100, x: 0, y: 0 }, picture, room).scale, 16);
  assert.equal(zoomAt(WHOLE, 0.1, { x: 5, y: 5 }).scale, 1);
});

test('swipes go to the side, clearly', () => {
  assert.equal(readSwipe(-80, 10), 1);
  assert.equal(readSwipe(80, -10), -1);
  assert.equal(readSwipe(30, 0), 0);
  assert.equal(readSwipe(80, 70), 0);
});

test('a picture fits its element in the middle', () => {
  const square = fitPicture({ width: 100, height: 50 }, { width: 10, height: 10 });
  assert.deepEqual(square, { left: 25, top: 0, width: 50, height: 50 });
  const flat = fitPicture({ width: 50, height: 80 }, { width: 100, height: 20 });
  assert.deepEqual(flat, { left: 0, top: 35, width: 50, height: 10 });
});

test('lines of text are placed level, askew, and from the top to the bottom', () => {
  const picture = { width: 200, height: 100 };
  const level = placeLine([[0.1, 0.2], [0.6, 0.2], [0.6, 0.4], [0.1, 0.4]], picture, 5);
  assert.deepEqual(level, { left: 20, top: 20, length: 100, height: 20, angle: 0 });
  const askew = placeLine([[0, 0], [0.5, 1], [0.4, 1], [0, 0.1]], picture, 5);
  assert.equal(askew.angle, Math.PI / 4);
  assert.equal(Math.round(askew.length), 141);
  const tall = /** @type {[number, number][]} */ ([[0.1, 0.1], [0.2, 0.1], [0.2, 0.9], [0.1, 0.9]]);
  assert.deepEqual(placeLine(tall, picture, 3), { left: 40, top: 10, length: 80, height: 20, angle: Math.PI / 2 });
  assert.equal(placeLine(tall, picture, 1).angle, 0);
});

test('an exposure as photographers write it', () => {
  const exif = { ExposureTime: 0.008, FNumber: '28/10', ISOSpeedRatings: 400, FocalLength: 50 };
  assert.equal(describeExposure(exif, translator), '1/125 s, f/2.8, ISO 400, 50 mm');
  assert.equal(describeExposure({ ExposureTime: 2.5 }, translator), '2.5 s');
  assert.equal(describeExposure({ ExposureTime: 'x', FNumber: 0 }, translator), '');
  assert.equal(describeExposure({ ExposureTime: '1/30' }, createTranslator(['zh'])), '1/30 秒');
});

test('numbers of EXIF', () => {
  assert.deepEqual(['1/4', 3, '2.5', '1/0', '', null, 'a/b', NaN].map(readNumber), [0.25, 3, 2.5, null, null, null, null, null]);
});

test('a lens has its maker once', () => {
  assert.equal(describeLens({ LensMake: 'Canon', LensModel: 'Canon RF 35mm' }), 'Canon RF 35mm');
  assert.equal(describeLens({ LensMake: 'Sigma', LensModel: '50mm' }), 'Sigma 50mm');
  assert.equal(describeLens({}), '');
});

test('places and values of conditions', () => {
  assert.equal(formatPlace(48.85833, -2.5), '48.85833° N, 2.50000° W');
  assert.equal(quoteValue('2024-05-03'), '2024-05-03');
  assert.equal(quoteValue('A "B" \\ C'), '"A \\"B\\" \\\\ C"');
});
