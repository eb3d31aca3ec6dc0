import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatClock } from '../../search/web/film-time.js';

test('a time of a film has hours, and two digits of minutes and seconds', () => {
  assert.equal(formatClock(0), '0:00:00');
  assert.equal(formatClock(59.99), '0:00:59');
  assert.equal(formatClock(4327.2), '1:12:07');
  assert.equal(formatClock(36000), '10:00:00');
});
