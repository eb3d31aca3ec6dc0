import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import {
  MAX_ZOOM,
  WORLD,
  decodeLine,
  fitView,
  formatNear,
  getBounds,
  getRadius,
  limitView,
  moveView,
  project,
  snapBounds,
  toPixels,
  unproject,
  zoomView,
} from '../../search/web/map-math.js';

const SIDE = 512;

/** @type {(a: readonly number[], b: readonly number[], by?: number) => void} */
const assertClose = (a, b, by = 1e-9) => {
  assert.equal(a.length, b.length);
  a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) <= by, `${a} is not ${b}`));
};

test('places and positions are inverse', () => {
  assertClose(project(0, 0), [0.5, 0.5]);
  assertClose(project(-180, 85.051129), [0, 0], 1e-6);
  for (const place of [[2.35, 48.85], [-122.4, 37.8], [151.2, -33.9], [179.9, 70]]) {
    assertClose(unproject(...project(place[0], place[1])), place);
  }
  assert.ok(Number.isFinite(project(0, 90)[1]));
});

test('a view stays on the world', () => {
  assertClose(Object.values(limitView({ x: 1.25, y: -3, zoom: 1e9 })), [0.25, 0, MAX_ZOOM]);
  assert.ok(moveView({ x: 0.9, y: 0.5, zoom: 1 }, 0.2 * SIDE, 0, SIDE).x < 0.2); // around the back
});

test('the place under the pointer stays when the map is zoomed', () => {
  const view = { x: 0.4, y: 0.4, zoom: 3 };
  const place = /** @type {const} */ ([0.42, 0.37]);
  const before = toPixels(view, place, SIDE);
  assertClose(toPixels(zoomView(view, 2.5, before, SIDE), place, SIDE), before);
  assertClose(toPixels(zoomView(view, 0.5, before, SIDE), place, SIDE), before);
});

test('a position is shown on the nearer side', () => {
  assertClose(toPixels({ x: 0.99, y: 0.5, zoom: 1 }, [0.01, 0.5], SIDE), [0.02 * SIDE, 0]);
});

test('bounds contain what a view shows', () => {
  const { west, south, east, north } = getBounds(WORLD, 4000, 4000, SIDE);
  assertClose([west, east], [-180, 180]);
  assert.ok(north > 85 && south < -85);
  const paris = { ...WORLD, zoom: 1000 };
  const bounds = getBounds(paris, 800, 600, SIDE);
  assert.ok(bounds.east - bounds.west < 1 && bounds.north > bounds.south);
});

test('a view fits its places', () => {
  const places = [{ longitude: 2.35, latitude: 48.85 }, { longitude: 13.4, latitude: 52.5 }];
  const view = fitView(places, 800, 600, SIDE);
  const { west, south, east, north } = getBounds(view, 800, 600, SIDE);
  for (const { longitude, latitude } of places) {
    assert.ok(west < longitude && longitude < east && south < latitude && latitude < north);
  }
  assert.equal(fitView([], 800, 600, SIDE), WORLD);
  assert.ok(fitView([places[0]], 800, 600, SIDE).zoom > 100);
});

test('the condition of a place has a radius and a longitude of the world', () => {
  assert.equal(formatNear(48.8534, 2.3488, 12.34), 'near=48.853,2.349,12km');
  assert.equal(formatNear(10, 190, 300), 'near=10.0,-170.0,300km');
  assert.equal(formatNear(10, 20, 0.001), 'near=10.00000,20.00000,0.05km');
});

test('the radius reaches the nearest edge', () => {
  const km = getRadius({ west: -1, east: 1, south: -1, north: 1 });
  assert.ok(Math.abs(km - 111.3) < 1);
  assert.ok(getRadius({ west: -1, east: 1, south: 59, north: 61 }) < km * 0.51);
});

test('the outlines are lines on the world', () => {
  const file = new URL('../../search/web/outlines.json', import.meta.url);
  const { steps, land, borders } = JSON.parse(readFileSync(file, 'utf8'));
  assert.ok(land.length > 500 && borders.length > 200);
  for (const line of [...land, ...borders]) {
    for (const [x, y] of decodeLine(line, steps)) assert.ok(x > -1 && x < 2 && y > -1e-6 && y < 1 + 1e-6);
  }
  assertClose(decodeLine([0, 0, 20, 20], 20)[1], project(1, 1));
});

test('cells stay where they are while the map moves', () => {
  const { bounds, cells } = snapBounds({ west: -25, south: 30, east: 167, north: 60 }, 14);
  assert.deepEqual([bounds.west, bounds.east, cells], [-32, 176, 13]);
  const moved = snapBounds({ west: -20, south: 31, east: 172, north: 61 }, 14);
  assert.equal((moved.bounds.west - bounds.west) % 16, 0);
  assert.ok(moved.bounds.west <= -20 && moved.bounds.east >= 172);
  const world = { west: -180, south: -90, east: 180, north: 90 };
  assert.deepEqual(snapBounds(world, 14), { bounds: world, cells: 14 });
});
