import assert from 'node:assert/strict';
import { test } from 'node:test';

import { findRowAt, findRowOf, findVertically, layoutRows } from '../../search/web/layout.js';
import { chooseColumns, getTileRatio } from '../../search/web/tile-layout.js';

const SPACING = { target: 100, gap: 10, below: 20 };

/** Shapes of pictures, always the same ones. */
function createShapes(count) {
  return Array.from({ length: count }, (_, i) => ({ width: 50 + ((i * 37) % 150), height: 50 + ((i * 53) % 90) }));
}

test('rows hold every picture once and are as wide as the page', () => {
  const { rows, height } = layoutRows(createShapes(100), 640, SPACING);
  assert.equal(rows.reduce((sum, row) => sum + row.boxes.length, 0), 100);
  for (const row of rows.slice(0, -1)) {
    const last = row.boxes.at(-1);
    assert.ok(Math.abs(last.left + last.width - 640) < 1e-9);
    assert.ok(row.height > 60 && row.height < 160);
  }
  const last = rows.at(-1);
  assert.equal(height, last.top + last.height + SPACING.below);
});

test('a few pictures are not enlarged to fill a row', () => {
  const { rows } = layoutRows([{ width: 100, height: 100 }], 640, SPACING);
  assert.deepEqual(rows, [{ top: 0, height: 100, from: 0, boxes: [{ left: 0, width: 100 }] }]);
  assert.deepEqual(layoutRows([], 640, SPACING), { rows: [], height: 0 });
});

test('extreme and unknown shapes can be seen', () => {
  const shapes = [{ width: 1000, height: 1 }, { width: 1, height: 1000 }, { width: 0, height: 0 }];
  for (const shape of shapes) {
    const [{ height, boxes }] = layoutRows([shape], 640, SPACING).rows;
    const ratio = boxes[0].width / height;
    assert.ok(ratio >= 0.75 && ratio <= 1.9);
  }
});

test('rows are found by pixel and by picture', () => {
  const { rows } = layoutRows(createShapes(100), 640, SPACING);
  for (const [i, row] of rows.entries()) {
    assert.equal(findRowAt(rows, row.top), i);
    assert.equal(findRowAt(rows, row.top + row.height), i);
    for (let place = row.from; place < row.from + row.boxes.length; place += 1) assert.equal(findRowOf(rows, place), i);
  }
  assert.equal(findRowAt(rows, -50), 0);
});

test('the picture above or below is the nearest one', () => {
  const boxes = [0, 100, 200].map((left) => ({ left, width: 90 }));
  const rows = [{ top: 0, height: 90, from: 0, boxes }, { top: 100, height: 90, from: 3, boxes }];
  assert.equal(findVertically(rows, 1, 1), 4);
  assert.equal(findVertically(rows, 5, -1), 2);
  assert.equal(findVertically(rows, 1, -1), null);
  assert.equal(findVertically(rows, 4, 1), null);
});

test('variants fit into their panel', () => {
  const panel = { width: 640, height: 600 };
  for (const [count, columns] of [[1, 1], [2, 2], [4, 2]]) {
    const chosen = chooseColumns(panel, count, 0.75, false);
    assert.equal(chosen.columns, columns);
    assert.ok(chosen.width * chosen.columns <= panel.width);
    assert.ok((chosen.width / 0.75) * Math.ceil(count / columns) <= panel.height);
  }
  assert.ok(chooseColumns(panel, 4, 0.75, true).width < chooseColumns(panel, 4, 0.75, false).width);
  assert.equal(getTileRatio(10, 1), 2.5);
  assert.equal(getTileRatio(0, 0), 1);
});
