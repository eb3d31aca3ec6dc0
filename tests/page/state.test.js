import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as keyboard from '../../search/web/keyboard.js';
import { START } from '../../search/web/route.js';
import { Store } from '../../search/web/store.js';

test('uploads have new numbers, also after a reload', () => {
  const store = new Store();
  const upload = { blobs: [], name: 'a' };
  const first = store.addUpload(upload, 1000);
  const second = store.addUpload(upload, 1000);
  assert.ok(first > 1000 && second > first);
  assert.equal(store.getUpload(first), upload);
  assert.equal(store.getUpload(7), undefined);
  assert.equal(store.getUpload(null), undefined);
});

test('the last answers are kept', () => {
  const store = new Store();
  for (let i = 0; i < 20; i += 1) store.addAnswer({ ...START, q: String(i) }, { number: i });
  assert.equal(store.getAnswer({ ...START, q: '0' }), undefined);
  assert.deepEqual(store.getAnswer({ ...START, q: '19', see: 'abc' }), { number: 19 });
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
