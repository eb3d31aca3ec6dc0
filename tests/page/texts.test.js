import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createTranslator } from '../../search/web/i18n.js';
import { Problem, describeProblem, formatProblem, isTemporary, toProblem } from '../../search/web/problems.js';
import { EN, ZH } from '../../search/web/texts.js';

const english = createTranslator(['en-GB']);
const chinese = createTranslator(['zh-CN', 'en']);

test('both languages have the same texts, with the same values', () => {
  const findValues = (text) => [...new Set(text.match(/\{\w+\}/g))].sort();
  assert.deepEqual(Object.keys(EN).filter((key) => !key.endsWith('_one')).sort(), Object.keys(ZH).sort());
  for (const [key, text] of Object.entries(ZH)) assert.deepEqual(findValues(text), findValues(EN[key]), key);
});

test('no English sentence is in Chinese', () => {
  for (const text of Object.values(ZH)) assert.doesNotMatch(text, /\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b/);
});

test('the language is the first one of the reader that the page has', () => {
  const choose = (...languages) => createTranslator(languages).language;
  assert.deepEqual([choose('zh-TW'), choose('fr', 'zh'), choose('en', 'zh'), choose('fr'), choose()], [
    'zh-CN',
    'zh-CN',
    'en',
    'en',
    'en',
  ]);
});

test('singular, plural and values', () => {
  assert.equal(english.translate('pictures', { n: 1 }), '1 picture');
  assert.equal(english.translate('pictures', { n: 1234 }), '1,234 pictures');
  assert.equal(chinese.translate('pictures', { n: 1 }), '1 张图片');
  assert.equal(english.translate('model', { name: 'mini' }), 'Model: mini');
});

test('numbers, sizes and times', () => {
  assert.equal(english.formatBytes(1_500_000), '1.5 MB');
  assert.equal(english.formatBytes(0), '0 byte');
  assert.equal(english.formatTime('2024-05-03T14:05:00').includes('2:05'), true);
  assert.equal(english.formatDuration(99.2), '100 s');
  assert.equal(english.formatDuration(100), '2 min');
  assert.equal(english.formatPercent(0.25), '25%');
});

test('a problem is described by its code', () => {
  const problem = new Problem(415, 'not_a_picture', 'the picture: it is a text');
  assert.deepEqual(describeProblem(problem, english), {
    title: EN.problem_not_a_picture,
    hint: 'The picture: it is a text',
  });
  assert.deepEqual(describeProblem(problem, chinese), { title: ZH.problem_not_a_picture, hint: '' });
  assert.equal(formatProblem(problem, english), `${EN.problem_not_a_picture}. The picture: it is a text`);
  assert.equal(formatProblem(problem, chinese), ZH.problem_not_a_picture);
});

test('an unknown problem shows its detail in English only', () => {
  const problem = toProblem(new TypeError('x is broken'));
  assert.equal(describeProblem(problem, english).title, EN.problem_unknown);
  assert.match(describeProblem(problem, english).hint, /x is broken/);
  assert.deepEqual(describeProblem(problem, chinese), { title: ZH.problem_unknown, hint: '' });
  assert.ok(!isTemporary(problem) && isTemporary(new Problem(503, 'busy')));
});

test('a server that does not answer has a hint in both languages', () => {
  const problem = new Problem(0, 'unreachable');
  assert.equal(describeProblem(problem, english).hint, EN.problem_unreachable_hint);
  assert.equal(describeProblem(problem, chinese).hint, ZH.problem_unreachable_hint);
});
