import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createTranslator } from '../../search/web/i18n.js';
import { removeExtension, shortenFolder, splitAtSeparators, splitPath } from '../../search/web/paths.js';
import { describeReading } from '../../search/web/suggest.js';

const { translate } = createTranslator(['en']);
const KNOWN = { words: ['cat'], names: [], labels: [], unknown: [], suggestions: [], advice_code: null };

test('nothing is said of words that are known', () => {
  assert.equal(describeReading({ understood: [KNOWN], low_content: false, pages: [] }, translate), '');
});

test('unknown words are listed, and what to do', () => {
  const reading = { ...KNOWN, unknown: ['zebu'], suggestions: ['zebra'], advice_code: 'unknown_words' };
  const text = describeReading({ understood: [reading], low_content: false, pages: [] }, translate);
  for (const part of ['cat', 'zebu', 'zebra', '--model ViT-B-32']) assert.ok(text.includes(part), part);
});

test('words that are in no picture, and blank pictures', () => {
  const text = describeReading({ understood: [{ ...KNOWN, advice_code: 'word_in_no_picture' }], low_content: true, pages: [] }, translate);
  assert.ok(text.includes(translate('word_in_no_picture', { list: 'cat' })));
  assert.ok(text.endsWith(translate('blank_query')));
});

test('the picture of a web page is named', () => {
  const pages = [{ term: 0, page: 'https://a.org/', picture: 'https://a.org/b.jpg' }, { term: 1, page: 'https://c.org/', picture: null }];
  const text = describeReading({ understood: [], low_content: false, pages }, translate);
  for (const part of ['https://a.org/ is', 'https://a.org/b.jpg', 'https://c.org/ is']) assert.ok(text.includes(part), part);
});

test('paths of both kinds of system', () => {
  assert.deepEqual(splitPath('/a/b/c.jpg'), { folder: '/a/b', name: 'c.jpg' });
  assert.deepEqual(splitPath('C:\\a\\c.jpg'), { folder: 'C:\\a', name: 'c.jpg' });
  assert.deepEqual(splitPath('c.jpg'), { folder: '', name: 'c.jpg' });
  assert.equal(shortenFolder('/a/b/c/d'), '…/c/d');
  assert.equal(shortenFolder('/a'), '/a');
  assert.equal(removeExtension('my.hat.png'), 'my.hat');
  assert.deepEqual(splitAtSeparators('/a/b.jpg'), ['/', 'a/', 'b.jpg']);
});
