import assert from 'node:assert/strict';
import { test } from 'node:test';

import { buildTerms, isTextQuery } from '../../search/web/query.js';
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
  ];
  for (const address of addresses) assert.equal(formatRoute(parseRoute(address.slice(1))), address);
});

test('wrong values of an address count as not set', () => {
  for (const k of ['0', '-1', '1.5', '10001', 'x']) assert.equal(parseRoute(`?k=${k}`).k, route.DEFAULT_K);
  for (const crop of ['1,2,3', '1,2,3,x', '-1,0,5,5', '0,0,0,5', '0,0,5,0']) {
    assert.equal(parseRoute(`?q=a&crop=${crop}`).crop, null);
  }
});

test('ids are shortened in addresses', () => {
  const id = 'ab'.repeat(32);
  assert.equal(formatRoute(route.routeToPicture(id)), `/?q=id:${id.slice(0, 16)}`);
  assert.equal(formatRoute({ ...START, see: id }), `/?see=${id.slice(0, 16)}`);
});

test('an upload has no address', () => {
  assert.equal(formatRoute({ ...START, upload: 1, see: 'abc' }), '/');
});

test('the picture that is shown large does not change the results', () => {
  const query = { ...START, q: 'hat' };
  assert.equal(getResultKey({ ...query, see: 'a' }), getResultKey(query));
  for (const other of [{ q: 'cap' }, { k: 5 }, { crop: [1, 2, 3, 4] }, { upload: 3 }]) {
    assert.notEqual(getResultKey({ ...query, ...other }), getResultKey(query));
  }
});

test('a query of words has a text term', () => {
  assert.ok(isTextQuery({ ...START, q: 'red hat' }));
  assert.deepEqual(buildTerms({ ...START, q: 'red hat' }), [{ text: 'red hat' }]);
});

test('a query of a picture has its crop in per cent', () => {
  const crop = [10, 20, 30, 40];
  const terms = buildTerms({ ...START, q: 'id:abc', crop });
  assert.deepEqual(terms, [{ image: 'id:abc', crop: ['10%', '20%', '30%', '40%'] }]);
  assert.deepEqual(buildTerms({ ...START, q: 'https://example.test/a.jpg' }), [{ image: 'https://example.test/a.jpg' }]);
});

test('each uploaded picture is a term', () => {
  assert.deepEqual(buildTerms({ ...START, upload: 1 }, 2), [{ image: 0 }, { image: 1 }]);
});

test('addresses as people paste them', () => {
  for (const text of ['https://a.org/b.jpg', ' HTTP://a.org/\n', 'www.a.org/b.jpg', '//a.org/b.jpg']) {
    assert.ok(route.isAddress(text), text);
  }
  for (const text of ['a red hat', 'www.', '// a', '/home/a.jpg', 'www.a b']) assert.ok(!route.isAddress(text), text);
});
