import assert from 'node:assert/strict';
import { test } from 'node:test';

import { buildQuery, isTextQuery, listFiles } from '../../search/web/query.js';
import * as route from '../../search/web/route.js';

const { START, formatRoute, getResultKey, parseRoute } = route;

test('an address and its route mean the same', () => {
  const addresses = [
    '/',
    '/?q=two%20words',
    '/?q=id:0123456789abcdef',
    '/?q=id:0123456789abcdef&crop=10,20,30.5,40&k=1000&see=fedcba9876543210',
    '/?q=https://example.test/a%20b.jpg%3Fc%3Dd%26e',
    '/?see=fedcba9876543210',
    '/?t=2;;id:0123456789abcdef&t=-0.5;10,20,30.5,40;https://example.test/a.jpg&t=1;;red%20hat;%20no',
    '/?t=-1;;hat&w=type=jpeg&k=5&min=0.5&fold=1',
    '/?q=id:0123456789abcdef&kind=identical&fold=1',
    '/?q=id:0123456789abcdef&kind=copy',
    '/?w=color=%23c03020&w=camera=%22A%20%26%20B%22',
    '/?w=type=png&sort=-date&from=2024-05&hidden=1',
    '/?sort=date&from=none',
    '/?q=hat&new=red%20hats',
  ];
  for (const address of addresses) {
    const written = formatRoute(parseRoute(address.slice(1)));
    assert.deepEqual(parseRoute(written.slice(1)), parseRoute(address.slice(1)));
    assert.equal(written, address.replace(/(?<=&w=|\?w=)(\w+)=/g, '$1%3D'));
  }
});

test('wrong values of an address count as not set', () => {
  for (const k of ['0', '-1', '1.5', '10001', 'x']) assert.equal(parseRoute(`?k=${k}`).k, route.DEFAULT_K);
  for (const crop of ['1,2,3', '1,2,3,x', '-1,0,5,5', '0,0,0,5', '0,0,5,0']) {
    assert.equal(parseRoute(`?q=a&crop=${crop}`).terms[0].crop, null);
  }
  for (const sort of ['x', '-score', '--date', 'Date']) assert.equal(parseRoute(`?sort=${sort}`).sort, '');
  for (const from of ['2024', '2024-13', 'x']) assert.equal(parseRoute(`?from=${from}`).from, '');
  for (const min of ['x', '2', '']) assert.equal(parseRoute(`?q=a&min=${min}`).min, null);
  for (const t of ['', 'a', '0;;a', 'x;;a', '1;;', '1.2.3;;a']) assert.deepEqual(parseRoute(`?t=${t}`).terms, []);
});

test('ids are shortened in addresses', () => {
  const id = 'ab'.repeat(32);
  assert.equal(formatRoute(route.routeToPicture(id)), `/?q=id:${id.slice(0, 16)}`);
  assert.equal(formatRoute({ ...START, see: id }), `/?see=${id.slice(0, 16)}`);
});

/** A term of a query. */
function createTerm(what, weight = 1, crop = null) {
  return { what, weight, crop };
}

test('a file of this browser has no address, and none is taken from an address', () => {
  assert.equal(formatRoute({ ...START, terms: [createTerm('file:1'), createTerm('hat')], see: 'abc' }), '/');
  assert.deepEqual(parseRoute('?q=file:12&t=1;;file:12').terms, []);
});

test('the picture that is shown large does not change the results', () => {
  const query = { ...START, terms: [createTerm('hat')] };
  assert.equal(getResultKey({ ...query, see: 'a' }), getResultKey(query));
  const others = [
    { terms: [createTerm('cap')] }, { terms: [createTerm('hat', 2)] }, { terms: [createTerm('hat', 1, [1, 2, 3, 4])] },
    { k: 5 }, { min: 0.5 }, { where: ['type=png'] }, { isFolded: true }, { sort: 'name' }, { from: '2024-05' }, { isHidden: true },
  ];
  for (const other of others) assert.notEqual(getResultKey({ ...query, ...other }), getResultKey(query));
});

test('a query of words has a text term', () => {
  const words = route.routeToQuery('red hat');
  assert.ok(isTextQuery(words));
  assert.deepEqual(buildQuery(words), { line: 'red hat', k: route.DEFAULT_K });
  assert.ok(!isTextQuery(START) && !isTextQuery(route.routeToQuery('id:abc')));
});

test('terms have their crops in per cent and their weights', () => {
  const hats = [createTerm('hat', 2), createTerm('red')];
  const terms = [createTerm('id:abc', 1, [10, 20, 30, 40]), createTerm('https://a.test/b.jpg', -0.5), ...hats];
  assert.deepEqual(buildQuery({ ...START, terms }).terms, [
    { image: 'id:abc', crop: ['10%', '20%', '30%', '40%'] },
    { image: 'https://a.test/b.jpg', weight: -0.5 },
    { text: 'hat', weight: 2 },
  ]);
  assert.equal(buildQuery({ ...START, terms }).line, 'red');
});

test('a file is named by its place among those that are sent, once', () => {
  const terms = [createTerm('file:7'), createTerm('hat'), createTerm('file:9'), createTerm('file:7', -1, [0, 0, 5, 5])];
  assert.deepEqual(listFiles({ terms }), [7, 9]);
  assert.deepEqual(buildQuery({ ...START, terms }).terms.map(({ image }) => image), [0, 1, 0]);
});

test('conditions, the least score and folding are sent if they are set', () => {
  const query = buildQuery({ ...START, where: ['type=png'], min: 0.5, isFolded: true });
  assert.deepEqual(query, { terms: [], k: route.DEFAULT_K, where: ['type=png'], min_score: 0.5, collapse: true });
});

test('a kind is sent if a picture is searched for', () => {
  assert.equal(buildQuery({ ...route.routeToPicture('abc'), kind: 'identical' }).kind, 'identical');
  for (const terms of [[createTerm('hat')], [createTerm('hat'), createTerm('id:abc', -1)]]) {
    assert.ok(!('kind' in buildQuery({ ...START, terms, kind: 'copy' })));
  }
});

test('an order is sent, unless it is the usual one', () => {
  assert.equal(buildQuery({ ...START, sort: '-date' }).sort, '-date');
  for (const sort of ['', 'score']) assert.ok(!('sort' in buildQuery({ ...START, sort })));
});

test('a list by date begins at a month, and has pictures without a date in any case', () => {
  const where = ['type=png'];
  const list = (sort, from) => route.listConditions({ where, sort, from });
  assert.deepEqual(list('-date', '2024-05'), ['type=png', 'not date>2024-05']);
  assert.deepEqual(list('date', '2024-05'), ['type=png', 'not date<2024-05']);
  assert.deepEqual(list('date', 'none'), ['type=png', 'not date>=0001']);
  for (const [sort, from] of [['name', '2024-05'], ['-date', '']]) assert.deepEqual(list(sort, from), where);
});

test('the box shows words and URLs of a query alone', () => {
  assert.equal(route.getBoxText(route.routeToQuery('hat')), 'hat');
  assert.equal(route.getBoxText(route.routeToQuery('id:abc')), '');
  assert.equal(route.getBoxText({ terms: [createTerm('hat'), createTerm('id:abc')] }), '');
});

test('addresses as people paste them', () => {
  for (const text of ['https://a.org/b.jpg', ' HTTP://a.org/\n', 'www.a.org/b.jpg', '//a.org/b.jpg']) {
    assert.ok(route.isAddress(text), text);
  }
  for (const text of ['a red hat', 'www.', '// a', '/home/a.jpg', 'www.a b']) assert.ok(!route.isAddress(text), text);
});
