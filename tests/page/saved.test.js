import assert from 'node:assert/strict';
import { test } from 'node:test';

import { START } from '../../search/web/route.js';
import { buildRoute } from '../../search/web/saved-query.js';

const build = (query, pictures = []) => buildRoute({ k: 10, min_score: null, terms: [], ...query }, new Map(pictures));
const term = (what, weight = 1, crop = null) => ({ what, weight, crop });

test('a saved query has the route that it was saved from', () => {
  const query = { terms: [{ text: 'hat', weight: 1 }], where: ['type=png'], k: 200, min_score: 0.5, collapse: true, sort: '-date' };
  const route = { ...START, terms: [term('hat')], where: ['type=png'], min: 0.5, isFolded: true, sort: '-date' };
  assert.deepEqual(build(query), { route, leftOut: [] });
});

test('texts alone are one line, which reads as they were meant', () => {
  const texts = [['red hat', 1], ['people', -1], ['"a + b"', 2], ['tag:x - y', 1], ['wide-angle', 0.5]];
  const terms = texts.map(([text, weight]) => ({ text, weight }));
  const line = 'red hat - people + 2:"a + b" + "tag:x - y" + 0.5:wide-angle';
  assert.deepEqual(build({ terms }).route.terms, [term(line)]);
});

test('pictures have the names of the page, and crops in shares', () => {
  const pictures = [
    [0, { what: 'file:7', size: [200, 100] }],
    ['id:0123456789abcdef01', { what: 'id:0123456789abcdef', size: null }],
    ['https://example.test/a.jpg', { what: 'https://example.test/a.jpg', size: null }],
  ];
  const terms = [
    { image: 0, weight: 1, crop: [20, '25%', 100, 50] },
    { image: 'id:0123456789abcdef01', weight: -0.5 },
    { image: 'https://example.test/a.jpg', weight: 1, crop: [1, 2, 3, 4] },
    { text: 'a - b', weight: 1 },
  ];
  const { route, leftOut } = build({ terms }, pictures);
  assert.deepEqual(route.terms, [
    term('file:7', 1, [10, 25, 50, 50]), term('id:0123456789abcdef', -0.5), term('https://example.test/a.jpg'), term('"a - b"'),
  ]);
  assert.deepEqual(leftOut, ['crop']);
});

test('what the page has no form for is named', () => {
  const query = { terms: [{ vector: [1, 0], weight: 1 }], kind: 'other', model: 'mini', offset: 5, hidden: true, restore: true };
  const { route, leftOut } = build(query);
  assert.deepEqual(route.terms, []);
  assert.deepEqual(leftOut.sort(), ['hidden', 'kind', 'model', 'offset', 'restore', 'vector']);
  for (const kind of ['identical', 'copy']) assert.equal(build({ kind }).route.kind, kind);
});
