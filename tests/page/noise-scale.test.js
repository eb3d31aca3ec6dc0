import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NoiseScale, STEPS } from '../../search/web/noise-scale.js';

const scale = new NoiseScale({ sigma: [0, 80], regimes: { near: 0.5, same: 1.2, concept: 80 } });

test('the ends of the slider', () => {
  assert.equal(scale.toSigma(0), 0.1);
  assert.equal(scale.toSigma(STEPS), 80);
});

test('positions and noise levels agree', () => {
  for (let position = 0; position <= STEPS; position += 25) {
    assert.ok(Math.abs(scale.toPosition(scale.toSigma(position)) - position) <= STEPS / 80);
  }
});

test('the slider goes to a regime that is near', () => {
  for (const [name, sigma] of scale.regimes) {
    for (const by of [-10, 0, 10]) assert.equal(scale.findRegime(scale.toSigma(scale.toPosition(sigma) + by)), name);
  }
  assert.equal(scale.findRegime(scale.toSigma(scale.toPosition(1.2) + 20)), undefined);
});

test('the regimes around a noise level', () => {
  assert.deepEqual(scale.findNeighbours(0.2), [undefined, 'near']);
  assert.deepEqual(scale.findNeighbours(0.7), ['near', 'same']);
  assert.deepEqual(scale.findNeighbours(5), ['same', 'concept']);
  assert.deepEqual(scale.findNeighbours(100), ['concept', undefined]);
});
