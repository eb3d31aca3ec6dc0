import assert from 'node:assert/strict';
import { test } from 'node:test';

import { findDifferences, findKept, getFolder, planRemoval } from '../../search/web/duplicate-plan.js';
import { getDuplicateAction } from '../../search/web/keyboard.js';
import { START, formatRoute, getResultKey, parseRoute } from '../../search/web/route.js';

/** A picture of a group; `more` replaces what it has. */
function createDuplicate(id, more = {}) {
  const path = `/a/${id}.jpg`;
  return {
    id, path, files: [{ id, path }], action: 'remove', score: 1, type: 'jpeg', width: 40, height: 30, bytes: 10, taken: null,
    camera: null, tags: [], favourite: false, rating: null, marks: [], companions: [], ...more,
  };
}

test('the others go, but for those that are no mere duplicates', () => {
  const copies = [{ id: 'c', path: '/a/c.jpg' }, { id: 'c', path: '/b/c.jpg' }];
  const pictures = [
    createDuplicate('a', { action: 'keep' }), createDuplicate('b', { action: 'leave', marks: ['burst'] }),
    createDuplicate('c', { files: copies, bytes: 20 }), createDuplicate('d', { companions: ['/a/d.mov'] }),
  ];
  assert.equal(findKept({ pictures }), 0);
  const usual = planRemoval({ pictures }, 0);
  assert.deepEqual(usual, { keep: pictures[0].files[0], remove: copies, pictures: [pictures[2]], bytes: 20 });
  const other = planRemoval({ pictures }, 2);
  assert.deepEqual(other.keep, copies[0]);
  assert.deepEqual(other.remove, pictures[0].files);
});

test('pictures of a group differ in some facts', () => {
  const pictures = [createDuplicate('a', { tags: ['x', 'y'], rating: 0 }), createDuplicate('b', { tags: ['y', 'x'] })];
  assert.deepEqual([...findDifferences(pictures)], []);
  pictures.push(createDuplicate('c', { path: '/b/c.jpg', width: 80, bytes: 11, favourite: true }));
  assert.deepEqual([...findDifferences(pictures)], ['pixels', 'bytes', 'folder', 'tags', 'favourite']);
  assert.deepEqual(['/a/b/c.jpg', '/c.jpg', 's3://b/k/c.jpg'].map(getFolder), ['/a/b', '/', 's3://b/k']);
});

test('duplicates have an address', () => {
  const route = { ...START, duplicates: 'copy', keep: 'oldest', where: ['folder=/a'] };
  assert.equal(formatRoute(route), '/?w=folder%3D/a&duplicates=copy&keep=oldest');
  assert.deepEqual(parseRoute(formatRoute(route).slice(1)), route);
  assert.equal(parseRoute('?duplicates=other&keep=largest').duplicates, '');
  assert.notEqual(getResultKey(route), getResultKey({ ...route, duplicates: 'exact' }));
  assert.notEqual(getResultKey(route), getResultKey({ ...route, keep: '' }));
});

test('keys of duplicates', () => {
  const keys = [' ', 'k', 'Enter', 'Delete', 'Backspace', 'z', 'a'];
  assert.deepEqual(keys.map((key) => getDuplicateAction({ key })), ['keep', 'keep', 'remove', 'remove', 'remove', 'undo', null]);
});
