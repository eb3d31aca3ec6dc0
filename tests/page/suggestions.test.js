import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  addRecent,
  groupSuggestions,
  insertSuggestion,
  MAX_RECENT,
  moveOption,
  parseRecent,
  splitLastPart,
} from '../../search/web/suggestions.js';

/** @param {string} kind @param {string} insert */
const suggestion = (kind, insert) => ({ kind, insert, text: insert, count: 1 });

test('what is typed last is a word, or a condition with its value', () => {
  assert.deepEqual(splitLastPart('red ca'), { before: 'red ', last: 'ca' });
  assert.deepEqual(splitLastPart('red '), { before: 'red ', last: '' });
  assert.deepEqual(splitLastPart(''), { before: '', last: '' });
  assert.deepEqual(splitLastPart('sea tag:"two wo'), { before: 'sea ', last: 'tag:"two wo' });
  assert.deepEqual(splitLastPart('"old house" -ta'), { before: '"old house" ', last: '-ta' });
  assert.deepEqual(splitLastPart('海滩'), { before: '', last: '海滩' });
});

test('a suggestion takes the place of what was typed', () => {
  assert.equal(insertSuggestion('red ca', suggestion('tag', 'tag:candle')), 'red tag:candle ');
  assert.equal(insertSuggestion('red ca', suggestion('field', 'camera:')), 'red camera:');
  assert.equal(insertSuggestion('', suggestion('recent', 'old one')), 'old one');
});

test('suggestions are grouped in one order', () => {
  const groups = groupSuggestions([suggestion('camera', 'a'), suggestion('tag', 'b'), suggestion('camera', 'c')]);
  assert.deepEqual(groups.map(({ kind, items }) => [kind, items.length]), [['tag', 1], ['camera', 2]]);
});

test('the keys go round through the box', () => {
  assert.deepEqual([moveOption(-1, 1, 3), moveOption(2, 1, 3)], [0, -1]);
  assert.deepEqual([moveOption(-1, -1, 3), moveOption(0, -1, 3)], [2, -1]);
});

test('recent searches are kept once each, newest first', () => {
  assert.deepEqual(addRecent(['b', 'a'], ' a '), ['a', 'b']);
  assert.deepEqual(addRecent(['a'], '  '), ['a']);
  assert.equal(addRecent(Array.from({ length: 20 }, (_, i) => `${i}`), 'x').length, MAX_RECENT);
  assert.deepEqual(parseRecent('["a", 1]'), ['a']);
  for (const odd of [null, '', '{', '{"a": 1}', '3']) assert.deepEqual(parseRecent(odd), []);
});
