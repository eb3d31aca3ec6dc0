import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as conditions from '../../search/web/conditions.js';
import { addActive } from '../../search/web/facet-list.js';
import { createTranslator } from '../../search/web/i18n.js';
import { getTimelineStep } from '../../search/web/keyboard.js';
import { arrangeMonths, findSpan, placeYears, stepSpan } from '../../search/web/timeline-math.js';
import { getSort, splitSort } from '../../search/web/toolbar.js';

const english = createTranslator(['en']);
const chinese = createTranslator(['zh']);
const MONTHS = [
  { month: '2024-05', count: 4 }, { month: '2024-01', count: 1 }, { month: '2022-12', count: 100 }, { month: null, count: 9 },
];

test('a condition is read as the server reads it', () => {
  const { parseCondition, writeCondition } = conditions;
  assert.deepEqual(parseCondition('type=jpeg'), { field: 'type', sign: '=', value: 'jpeg' });
  assert.deepEqual(parseCondition('Width >= 1000'), { field: 'width', sign: '>=', value: '1000' });
  assert.deepEqual(parseCondition('tag:beach'), { field: 'tag', sign: '=', value: 'beach' });
  assert.deepEqual(parseCondition('camera="A \\"B\\" \\\\"'), { field: 'camera', sign: '=', value: 'A "B" \\' });
  for (const text of ['not has=gps', 'a=1 and b=2', '(a=1)', 'tag=', 'beach', 'tag="a" or tag="b"']) {
    assert.equal(parseCondition(text), null, text);
  }
  for (const value of ['jpeg', 'a b', '"', '\\', '照片', '/a b/c']) {
    assert.equal(parseCondition(writeCondition('tag', '=', value)).value, value);
  }
});

test('conditions are added once, and taken back however they are written', () => {
  const { exchangeCondition, toggleCondition, replaceCondition, findValue, writeNameCondition } = conditions;
  assert.deepEqual(toggleCondition(['tag=a'], 'tag=b'), ['tag=a', 'tag=b']);
  assert.deepEqual(toggleCondition(['tag:"a"', 'tag=b'], 'tag=a'), ['tag=b']);
  assert.deepEqual(toggleCondition(['not has=gps'], 'not has=gps'), []);
  assert.deepEqual(replaceCondition(['width>=5', 'width<=9', 'tag=a'], 'width', '>=', '7'), ['width<=9', 'tag=a', 'width>=7']);
  assert.deepEqual(replaceCondition(['width>=5'], 'width', '>=', ''), []);
  assert.deepEqual(exchangeCondition(['tag:"a"', 'type=png'], 'tag=a', 'tag=b'), ['tag=b', 'type=png']);
  assert.equal(writeNameCondition('album', 'a *'), 'album="a ?"');
  assert.equal(findValue(['date>=2024', 'date<=2025-01'], 'date', '<='), '2025-01');
  assert.equal(findValue(['date>=2024'], 'date', '<='), '');
});

test('conditions are described in both languages', () => {
  const { describeCondition } = conditions;
  const cases = [
    ['type=jpeg', 'Type: JPEG', '类型：JPEG'],
    ['rating>=3', 'Rating: ≥ ★★★', '评分：≥ ★★★'],
    ['color=red', 'Color: red', '颜色：红'],
    ['folder="/a/my photos/"', 'Folder: my photos', '文件夹：my photos'],
    ['is!=favourite', 'Is: ≠ favourite', '状态：≠ 收藏'],
    ['not has=gps', 'not has=gps', 'not has=gps'],
  ];
  for (const [condition, inEnglish, inChinese] of cases) {
    assert.equal(describeCondition(condition, english), inEnglish);
    assert.equal(describeCondition(condition, chinese), inChinese);
  }
  assert.equal(describeCondition('date=2024-05', english), 'Date: May 2024');
  const wrong = [['date=2024-13', 'Date: 2024-13'], ['date=2024-00', 'Date: 2024-00'], ['rating=-1', 'Rating: -1'], ['rating=1e12', 'Rating: 1e12']];
  for (const [condition, text] of wrong) assert.equal(describeCondition(condition, english), text);
});

test('what the server refuses comes with advice in both languages', () => {
  const { adviseOnCondition } = conditions;
  const problem = (detail) => ({ code: 'condition_value_invalid', detail });
  const date = problem('date=x: date takes a year, a month, a day or a time, such as date>=2024-05');
  assert.match(adviseOnCondition(date, english), /2024-05-06/);
  assert.match(adviseOnCondition(date, chinese), /例如 2024/);
  const near = problem('type=jpg2: did you mean jpeg? It takes jpeg, png, such as type=jpeg');
  assert.match(adviseOnCondition(near, chinese), /jpeg/);
  assert.match(adviseOnCondition(problem('is=x: is takes favourite, such as is=favourite'), chinese), /is=favourite/);
  assert.equal(adviseOnCondition({ code: 'busy', detail: 'such as x' }, english), '');
});

test('a value of a present condition stays in its list when no picture has it', () => {
  const facets = [{ value: 'jpeg', count: 2, where: 'type=jpeg' }];
  assert.deepEqual(addActive(facets, ['type=png', 'type=jpeg', 'type!=gif', 'tag=a'], 'type').map(({ value }) => value), ['jpeg', 'png']);
  assert.deepEqual(addActive([], ['date=2024', 'date=2024-05'], 'date', (value) => value.length === 4).length, 1);
});

test('months follow each other on the timeline, those without a date last', () => {
  const spans = arrangeMonths(MONTHS, false);
  assert.deepEqual(spans.map(({ month }) => month), ['2024-05', '2024-01', '2022-12', null]);
  assert.deepEqual(arrangeMonths(MONTHS, true).map(({ month }) => month), ['2022-12', '2024-01', '2024-05', null]);
  assert.equal(spans[0].from, 0);
  assert.equal(spans.at(-1).to, 1);
  for (const [i, { from, to }] of spans.entries()) assert.ok(to > from && (!i || from === spans[i - 1].to));
  assert.ok(spans[2].to - spans[2].from > spans[1].to - spans[1].from);
  assert.deepEqual(arrangeMonths([], false), []);
});

test('places and keys of the timeline', () => {
  const spans = arrangeMonths(MONTHS, false);
  assert.deepEqual([-1, 0, 0.9999, 2].map((share) => findSpan(spans, share)), [0, 0, 3, 3]);
  for (const [i, { from, to }] of spans.entries()) assert.equal(findSpan(spans, (from + to) / 2), i);
  assert.equal(stepSpan(spans, 0, 1, false), 1);
  assert.equal(stepSpan(spans, 0, -1, false), 0);
  assert.equal(stepSpan(spans, 1, Infinity, false), 3);
  assert.equal(stepSpan(spans, 0, 1, true), 2);
  assert.equal(stepSpan(spans, 2, -1, true), 0);
  assert.equal(stepSpan(spans, 3, 1, true), 3);
  assert.deepEqual(placeYears(spans, 1000, 20).map(({ year }) => year), ['2024', '2022']);
  assert.deepEqual(placeYears(spans, 10, 20).map(({ year }) => year), ['2024']);
  assert.deepEqual(getTimelineStep({ key: 'PageDown' }), { by: 1, isByYear: true });
  assert.equal(getTimelineStep({ key: 'ArrowUp' }).by, -1);
  assert.equal(getTimelineStep({ key: 'Home', altKey: true }), null);
});

test('the order of a route', () => {
  assert.equal(getSort({ terms: [], sort: '' }), '-added');
  assert.equal(getSort({ terms: [{}], sort: '' }), 'score');
  assert.deepEqual(splitSort('-date'), ['date', true]);
  assert.deepEqual(splitSort('name'), ['name', false]);
});
