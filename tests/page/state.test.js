import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FileStore, listOldest } from '../../search/web/file-store.js';
import * as keyboard from '../../search/web/keyboard.js';
import { START, routeToQuery } from '../../search/web/route.js';
import { Store } from '../../search/web/store.js';

test('files have new numbers, also after a reload', () => {
  const files = new FileStore();
  const hat = { name: 'hat.jpg' };
  const [first, second] = files.add([hat, hat], 1000);
  const [third] = files.add([hat], 1000);
  assert.ok(first > 1000 && second > first && third > second);
  assert.deepEqual(files.get(first), { blob: hat, name: 'hat.jpg' });
  assert.equal(files.get(7), undefined);
});

test('without a database only the files of this visit are there', async () => {
  const files = new FileStore();
  const [number] = files.add([{ name: 'hat.jpg' }]);
  assert.ok(await files.load([number]) && await files.load([]));
  assert.ok(!await files.load([number, 7]));
});

test('the oldest files are dropped', () => {
  assert.deepEqual(listOldest([5, 3, 9, 1], 2), [1, 3]);
  assert.deepEqual(listOldest([5], 2), []);
});

test('the last answers are kept', () => {
  const store = new Store();
  for (let i = 0; i < 20; i += 1) store.addAnswer(routeToQuery(String(i)), { number: i });
  assert.equal(store.getAnswer(routeToQuery('0')), undefined);
  assert.deepEqual(store.getAnswer({ ...routeToQuery('19'), see: 'abc' }), { number: 19 });
});

test('a change of the library makes answers stale', () => {
  const store = new Store();
  store.addAnswer(START, {});
  store.newest = { items: [], page: 1, pages: 1, total: 0, isLoading: false, isStale: false };
  store.invalidate();
  assert.equal(store.getAnswer(START), undefined);
  assert.ok(store.newest.isStale);
});

test('keys', () => {
  assert.deepEqual(keyboard.getDirection({ key: 'ArrowUp' }), [0, -1]);
  assert.equal(keyboard.getDirection({ key: 'toString' }), null);
  assert.deepEqual(['Home', 'End', 'a'].map((key) => keyboard.getEnd({ key })), ['first', 'last', null]);
  assert.ok(keyboard.isPressKey({ key: ' ' }) && keyboard.isDeleteKey({ key: 'Backspace' }));
  assert.ok(keyboard.isBrowserShortcut({ altKey: true, ctrlKey: false, metaKey: false }));
  assert.ok(keyboard.opensElsewhere({ ctrlKey: false, metaKey: false, shiftKey: false, button: 1 }));
});
