import assert from 'node:assert/strict';
import { test } from 'node:test';

import { classifyHits, findCutoff } from '../../search/web/cutoff.js';
import { layoutSections } from '../../search/web/layout.js';
import { getMediaType } from '../../search/web/paths.js';
import { Selection } from '../../search/web/selection.js';

/** Hits with these scores. */
function createHits(...scores) {
  return scores.map((score, i) => ({ id: `id${i}`, score, low_content: false }));
}

test('alike hits end at the largest relative drop', () => {
  assert.equal(findCutoff([0.9, 0.88, 0.6, 0.58, 0.57]), 2);
  assert.equal(findCutoff([0.9, 0.5, 0.2]), 2); // from 0.5 to 0.2 more is lost than from 0.9 to 0.5
  assert.equal(findCutoff([0.8, 0.79, 0.785, 0.78]), null);
  assert.equal(findCutoff([]), null);
  assert.equal(findCutoff([0.9]), null);
});

test('drops far down and of scores about 0 do not count', () => {
  const even = Array.from({ length: 30 }, (_, i) => 0.9 - i * 0.001);
  assert.equal(findCutoff([...even, 0.1]), null);
  assert.equal(findCutoff([0.04, 0.01, -0.5]), null);
});

test('the own picture, copies, and blank pictures are apart', () => {
  const hits = createHits(1, 1, 0.8, 0.78, 0.5, 0.48);
  hits[3].low_content = true;
  const { likeness, alike, end } = classifyHits(hits, ['id0']);
  assert.deepEqual(likeness, ['own', 'same', 'alike', 'blank', 'less', 'less']);
  assert.equal(alike, 2); // the copy and the one that is alike
  assert.equal(end, 4);
  assert.deepEqual(classifyHits(createHits(0.8, 0.79), []), { likeness: [null, null], alike: null, end: null });
});

test('scores that are probabilities have a fixed end', () => {
  const classify = (...scores) => classifyHits(createHits(...scores), [], 0.2);
  assert.deepEqual(classify(0.9, 0.3, 0.25, 0.1), { likeness: ['alike', 'alike', 'alike', 'less'], alike: 3, end: 3 });
  assert.deepEqual(classify(0, 0.9, 0.2, 0.1).likeness, [null, 'alike', 'alike', 'less']); // the first has the name
  assert.deepEqual(classify(0.15, 0.01), { likeness: [null, null], alike: null, end: null });
  assert.deepEqual(classify(0.9, 0.8), { likeness: ['alike', 'alike'], alike: 2, end: null });
  const many = Array.from({ length: 40 }, () => 0.9);
  assert.equal(classify(...many, 0.1).end, 40);
});

test('a section begins a row of its own, below a heading', () => {
  const shapes = Array.from({ length: 9 }, () => ({ width: 100, height: 100 }));
  const spacing = { target: 100, gap: 10, below: 20 };
  const { rows, height, headings } = layoutSections(shapes, 640, spacing, [3], 50);
  assert.deepEqual(rows.map(({ from }) => from), [0, 3, 8].slice(0, rows.length));
  assert.equal(rows[0].boxes.length, 3);
  assert.equal(headings.length, 1);
  assert.equal(headings[0] + 50, rows[1].top);
  assert.ok(headings[0] >= rows[0].top + rows[0].height + spacing.below);
  assert.equal(height, rows.at(-1).top + rows.at(-1).height + spacing.below);
  for (const starts of [[0], [9]]) assert.deepEqual(layoutSections(shapes, 640, spacing, starts, 50).headings, []);
});

test('a selection of single pictures, ranges and all', () => {
  let changes = 0;
  const selection = new Selection(() => { changes += 1; });
  const items = ['a', 'b', 'c', 'd', 'e'].map((id) => ({ id }));
  const ids = () => selection.selected.map(({ id }) => id).join('');
  selection.setItems(items);
  selection.toggle(3);
  selection.extend(1);
  assert.equal(ids(), 'bcd');
  selection.toggle(2);
  assert.equal(ids(), 'bd');
  selection.extend(4);
  assert.equal(ids(), 'bcde');
  selection.setItems(items.slice(0, 3));
  assert.equal(ids(), 'bc');
  selection.selectAll();
  assert.equal(ids(), 'abc');
  selection.toggle(99);
  selection.clear();
  assert.equal(selection.size, 0);
  const before = changes;
  selection.clear();
  assert.equal(changes, before);
});

test('media types by name', () => {
  assert.equal(getMediaType('a.JPG'), 'image/jpeg');
  assert.equal(getMediaType('a.b.heic'), 'image/heif');
  assert.equal(getMediaType('none'), 'application/octet-stream');
});
