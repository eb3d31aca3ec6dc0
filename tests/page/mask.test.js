import assert from 'node:assert/strict';
import { test } from 'node:test';

import { getBrushAction } from '../../search/web/keyboard.js';
import { measureCover, planMask, stepBrush } from '../../search/web/mask-math.js';

/** The size that the server gives a picture of a query, or the part of it under a crop. */
function normalize(width, height) {
  const scale = Math.min(1, 512 / Math.min(width, height), 2048 / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

test('a mask is as large as the server decodes the picture', () => {
  assert.deepEqual(planMask({ width: 300, height: 200 }, null).whole, { width: 300, height: 200 });
  assert.deepEqual(planMask({ width: 4000, height: 3000 }, null).whole, { width: 683, height: 512 });
  assert.deepEqual(planMask({ width: 1, height: 1 }, null).whole, { width: 1, height: 1 });
  const { whole, part } = planMask({ width: 4000, height: 3000 }, [50, 25, 50, 50]);
  assert.deepEqual(whole, { width: 1365, height: 1024 }); // the part has 512 pixels on its short side
  assert.deepEqual(part, { x: 682.5, y: 256, width: 682.5, height: 512 });
});

test('under any crop, the mask has the size of the picture', () => {
  for (const [width, height] of [[300, 200], [4000, 3000], [1001, 4001], [20000, 500], [97, 3001], [8192, 8192]]) {
    for (const crop of [[0, 0, 100, 100], [10, 20, 33.3, 47.1], [90, 5, 10, 10], [0, 96, 50, 4], [1, 1, 4, 4]]) {
      const { whole } = planMask({ width, height }, crop);
      const own = normalize((width * crop[2]) / 100, (height * crop[3]) / 100);
      const ofMask = normalize((whole.width * crop[2]) / 100, (whole.height * crop[3]) / 100);
      for (const i of [0, 1]) assert.ok(Math.abs(own[i] - ofMask[i]) <= 1, `${[width, height]} ${crop}: ${own} ${ofMask}`);
    }
  }
});

test('the brush grows and shrinks within its limits', () => {
  assert.deepEqual([stepBrush(10, 1), stepBrush(10, -1), stepBrush(3, 1)], [12, 8, 4]);
  assert.deepEqual([stepBrush(2, -1), stepBrush(60, 1), stepBrush(59, 1)], [2, 60, 60]);
});

test('what is covered more than half counts', () => {
  const pixels = new Uint8ClampedArray([0, 0, 0, 255, 9, 9, 9, 128, 0, 0, 0, 127, 0, 0, 0, 0]);
  assert.equal(measureCover(pixels), 0.5);
});

test('keys of the brush', () => {
  const plain = { key: '', code: '', ctrlKey: false, metaKey: false, altKey: false };
  /** @param {object} event */
  const act = (event) => getBrushAction({ ...plain, ...event });
  assert.deepEqual(['[', ']', ' ', 'a', 'z'].map((key) => act({ key })), ['smaller', 'larger', 'spot', null, null]);
  assert.equal(act({ key: 'ü', code: 'BracketLeft' }), 'smaller'); // the same place on a German keyboard
  assert.equal(act({ key: ']', code: 'Digit9', ctrlKey: true, altKey: true }), 'larger'); // by AltGr there
  assert.deepEqual([act({ key: 'z', ctrlKey: true }), act({ key: 'Z', metaKey: true })], ['undo', 'undo']);
  assert.equal(act({ key: '[', metaKey: true }), null); // goes back in some browsers
});
