import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as crop from '../../search/web/crop-math.js';

const BOX = [20, 30, 40, 50];

test('a box is drawn between two points, in any direction', () => {
  assert.deepEqual(crop.spanBox([10, 20], [30, 60]), [10, 20, 20, 40]);
  assert.deepEqual(crop.spanBox([30, 60], [10, 20]), [10, 20, 20, 40]);
});

test('a box moves as far as the picture reaches', () => {
  assert.deepEqual(crop.moveBox(BOX, 5, -5), [25, 25, 40, 50]);
  assert.deepEqual(crop.moveBox(BOX, 100, 100), [60, 50, 40, 50]);
  assert.deepEqual(crop.moveBox(BOX, -100, -100), [0, 0, 40, 50]);
});

test('a corner moves, and the opposite one stays', () => {
  assert.deepEqual(crop.resizeBox(BOX, 'nw', [10, 10]), [10, 10, 50, 70]);
  assert.deepEqual(crop.resizeBox(BOX, 'se', [90, 90]), [20, 30, 70, 60]);
  assert.deepEqual(crop.resizeBox(BOX, 'ne', [100, 0]), [20, 0, 80, 80]);
  assert.deepEqual(crop.resizeBox(BOX, 'sw', [0, 100]), [0, 30, 60, 70]);
});

test('a box keeps a least size', () => {
  const small = crop.resizeBox(BOX, 'nw', [100, 100]);
  assert.deepEqual(small.slice(2), [crop.MIN_SIDE, crop.MIN_SIDE]);
  assert.ok(!crop.isTooSmall(small));
  assert.ok(crop.isTooSmall([0, 0, 3, 50]) && crop.isTooSmall([0, 0, 50, 3]));
});

test('corners of a box', () => {
  assert.deepEqual(['nw', 'ne', 'sw', 'se'].map((corner) => crop.getCorner(BOX, corner)), [
    [20, 30],
    [60, 30],
    [20, 80],
    [60, 80],
  ]);
});

test('a box is rounded, and none is left of the whole picture', () => {
  assert.deepEqual(crop.roundBox([1.23456, 2, 3.999, 50]), [1.23, 2, 4, 50]);
  assert.equal(crop.roundBox([0.1, 0.1, 99.8, 99.9]), null);
});

test('a box in pixels has at least one', () => {
  assert.deepEqual(crop.toPixels([10, 20, 50, 25], 400, 200), [40, 40, 200, 50]);
  assert.deepEqual(crop.toPixels([0, 0, 0.1, 0.1], 10, 10), [0, 0, 1, 1]);
});
