import assert from 'node:assert/strict';
import { test } from 'node:test';

import { classifyHits } from '../../search/web/cutoff.js';
import {
  countProofs, describeEvidence, formatPath, getFinding, getProof, nameCompared,
} from '../../search/web/evidence.js';
import { findHomography, invertHomography, isQuadrilateral, movePoint } from '../../search/web/homography.js';
import { createTranslator } from '../../search/web/i18n.js';
import { buildQuery, isPictureQuery } from '../../search/web/query.js';
import { START } from '../../search/web/route.js';
import {
  MAX_PIXELS, findShownPart, limitSize, measurePart, subtractPixels, warpPixels,
} from '../../search/web/warp.js';

const SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]];
const WHOLE = { left: 0, top: 0, width: 1, height: 1 };
const MIRRORED = [[1, 0], [0, 0], [0, 1], [1, 1]];

/** Points as equal as floating point makes them. */
function assertNear(actual, expected, message) {
  for (const [i, value] of expected.entries()) assert.ok(Math.abs(actual[i] - value) < 1e-9, `${message}: ${actual}`);
}

/** Grey pixels of a picture. */
function createPixels(width, height, ...values) {
  const data = new Uint8ClampedArray(4 * width * height);
  for (const [i, value] of values.entries()) data.set([value, value, value, 255], 4 * i);
  return { data, width, height };
}

/** The grey values of pixels; -1 where they are transparent. */
function listGreys({ data }) {
  return Array.from({ length: data.length / 4 }, (_, i) => (data[4 * i + 3] ? data[4 * i] : -1));
}

/** Evidence with outlines. */
function createEvidence(more = {}) {
  return {
    verdict: 'edited', query_overlap: 1, hit_overlap: 0.25, query_outline: SQUARE, hit_outline: SQUARE, mirrored: false,
    ...more,
  };
}

test('evidence names the picture of the route that a hit was compared with', () => {
  const hits = [2, 0, 1, null, 9].map((term) => ({ id: String(term), evidence: createEvidence({ term }) }));
  const terms = [{ image: 'id:1', text: null }, { text: 'red', image: null }, { image: 0 }];
  const named = nameCompared([...hits, { id: 'x' }], terms, ['id:1', 'file:7']);
  assert.deepEqual(named.map(({ evidence }) => evidence?.what), ['file:7', 'id:1', undefined, undefined, undefined, undefined]);
});

test('a homography takes the corners of a picture to those of its outline, and back', () => {
  const outlines = [
    SQUARE, MIRRORED, [[0.2, 0.3], [0.7, 0.3], [0.7, 0.8], [0.2, 0.8]], [[0.1, 0.2], [0.9, 0], [1.3, 1.4], [-0.2, 0.8]],
    [[1, 1], [0, 1], [0, 0], [1, 0]], [[-40, -60], [160, -60], [160, 140], [-40, 140]],
  ];
  for (const outline of outlines) {
    const matrix = findHomography(outline);
    const back = invertHomography(matrix);
    for (const [i, corner] of SQUARE.entries()) {
      assertNear(movePoint(matrix, corner), outline[i], 'there');
      assertNear(movePoint(back, outline[i]), corner, 'back');
    }
    assertNear(movePoint(back, movePoint(matrix, [0.3, 0.9])), [0.3, 0.9], 'inside');
  }
});

test('the middle of a tilted picture is where its diagonals cross', () => {
  const matrix = findHomography([[0, 0], [1, 0], [0.75, 0.5], [0.25, 0.5]]);
  assertNear(movePoint(matrix, [0.5, 0.5]), [0.5, 1 / 3], 'middle'); // and not at half the height
});

test('outlines that no picture can be taken onto have no homography', () => {
  const outlines = [
    [], SQUARE.slice(1), [[0, 0], [0, 0], [0, 0], [0, 0]], [[0, 0], [0.3, 0.3], [0.6, 0.6], [1, 1]],
    [[0, 0], [1, 1], [1, 0], [0, 1]], [[0, 0], [1, 0], [0.1, 0.1], [0, 1]], [[0, 0], [NaN, 0], [1, 1], [0, 1]],
    [[0, 0], [Infinity, 0], [1, 1], [0, 1]], [[0, 0], [1e-5, 0], [1e-5, 1e-5], [0, 1e-5]],
  ];
  for (const outline of outlines) {
    assert.equal(isQuadrilateral(outline), false, JSON.stringify(outline));
    assert.equal(findHomography(outline), null);
  }
});

test('pixels are brought to their place, mirrored ones turned over', () => {
  const source = createPixels(2, 1, 10, 90);
  const warp = (outline, size) => listGreys(warpPixels(source, WHOLE, invertHomography(findHomography(outline)), size));
  assert.deepEqual(warp(SQUARE, { width: 2, height: 1 }), [10, 90]);
  assert.deepEqual(warp(MIRRORED, { width: 2, height: 1 }), [90, 10]);
  const right = [[0.5, 0], [1, 0], [1, 1], [0.5, 1]];
  assert.deepEqual(warp(right, { width: 4, height: 1 }), [-1, -1, 10, 90]);
  const beyond = [[-1, 0], [1, 0], [1, 1], [-1, 1]]; // half of it is outside
  assert.deepEqual(warp(beyond, { width: 1, height: 1 }), [90]);
  assert.deepEqual(warp(SQUARE, { width: 4, height: 1 }), [10, 30, 70, 90]); // between pixels
});

test('a part of a picture is brought to where it is in the whole', () => {
  const part = findShownPart([[0.5, 0], [1.5, 0], [1.5, 1], [0.5, 1]]);
  assert.deepEqual(part, { left: 0.5, top: 0, width: 0.5, height: 1 });
  const onto = findHomography([[-0.5, 0], [0.5, 0], [0.5, 1], [-0.5, 1]]);
  assert.deepEqual(measurePart(part, onto, { width: 4, height: 2 }), { width: 2, height: 2 });
  const warped = warpPixels(createPixels(2, 1, 10, 90), part, invertHomography(onto), { width: 4, height: 1 });
  assert.deepEqual(listGreys(warped), [10, 90, -1, -1]);
  assert.equal(findShownPart([[2, 0], [3, 0], [3, 1], [2, 1]]), null);
  assert.deepEqual(findShownPart([[0, 0], [1, 1], [1, 0], [0, 1]]), WHOLE);
});

test('a difference is made stronger, and only where both show something', () => {
  const warped = createPixels(3, 1, 100, 100, 100);
  warped.data[11] = 0;
  const { pixels, mean } = subtractPixels(warped, createPixels(3, 1, 100, 151, 0));
  assert.deepEqual(listGreys(pixels), [0, 204, -1]);
  assert.equal(mean, 0.1);
  assert.equal(subtractPixels(createPixels(1, 1), createPixels(1, 1, 7)).mean, null);
});

test('no more pixels are computed with than a megapixel', () => {
  assert.deepEqual(limitSize(640, 480), { width: 640, height: 480 });
  const { width, height } = limitSize(8000, 2000);
  assert.ok(width * height <= MAX_PIXELS && Math.abs(width / height - 4) < 0.01);
  assert.deepEqual(limitSize(1e9, 0.5), { width: 4096, height: 1 });
  const onto = findHomography([[-40, -60], [160, -60], [160, 140], [-40, 140]]);
  const far = measurePart(WHOLE, onto, { width: 900, height: 900 });
  assert.ok(far.width * far.height <= MAX_PIXELS);
});

test('what is proven of a hit', () => {
  assert.equal(getFinding({}), null);
  assert.equal(getFinding({ kind: 'similar', evidence: null }), null);
  assert.equal(getFinding({ kind: 'identical', evidence: createEvidence({ verdict: 'alike' }) }), 'identical');
  assert.equal(getProof({ kind: 'identical', evidence: createEvidence() }), null);
  assert.equal(getProof({ kind: 'similar', evidence: createEvidence({ verdict: 'alike' }) }), null);
  const hits = ['edited', 'alike', 'photographed_again', 'edited'].map((verdict) => ({ evidence: { verdict } }));
  assert.deepEqual(hits.map(getProof), ['edited', null, 'photographed_again', 'edited']);
  assert.deepEqual(countProofs(hits), { edited: 2, photographed_again: 1 });
});

test('evidence in words, in both languages', () => {
  const [english, chinese] = ['en', 'zh'].map((language) => createTranslator([language]));
  const item = { evidence: createEvidence({ mirrored: true }), probability: 0.9999 };
  const lines = describeEvidence(item, english);
  assert.match(lines[0], /100% of your picture.*25% of it/);
  assert.match(lines[1], /mirror image/);
  assert.match(lines[2], /> 99%$/);
  assert.match(describeEvidence({ probability: 0 }, english)[0], /< 1%$/);
  assert.match(describeEvidence({ probability: 0.4 }, english)[0], /40%$/);
  assert.deepEqual(describeEvidence(item, chinese).map((line) => /镜像|25%|99%/.test(line)), [true, true, true]);
  const alike = { evidence: createEvidence({ verdict: 'alike', query_outline: null, hit_outline: null }), probability: null };
  assert.deepEqual(describeEvidence(alike, english), []);
  assert.deepEqual(describeEvidence({}, english), []);
});

test('an outline is drawn as a path, unless it has no place', () => {
  assert.equal(formatPath([[0, 0], [1.5, 0], [1, 1]]), 'M0 0L1.5 0L1 1Z');
  assert.equal(formatPath([[0, 0], [NaN, 0], [1, 1]]), '');
});

test('hits of which something is proven are not measured by their scores', () => {
  const hits = [0.2, 0.9, 0.88, 0.3, 0.29].map((score, i) => ({ id: `id${i}`, score, low_content: false }));
  hits[0].evidence = createEvidence(); // a small part of the picture: far away by its vector
  const { likeness, alike, end } = classifyHits(hits, []);
  assert.deepEqual(likeness, [null, 'alike', 'alike', 'less', 'less']);
  assert.equal(alike, 3);
  assert.equal(end, 3);
});

test('only a search for a picture is compared', () => {
  const search = (...terms) => ({ ...START, terms: terms.map(([what, weight = 1]) => ({ what, weight, crop: null })) });
  const isCompared = (...terms) => isPictureQuery(search(...terms));
  assert.ok(isCompared(['id:0123']) && isCompared(['hat'], ['file:7']) && isCompared(['https://example.com/a.jpg']));
  assert.ok(!isCompared() && !isCompared(['hat']) && !isCompared(['hat'], ['id:0123', -1]));
  assert.ok(!('verify' in buildQuery(search(['id:0123']))));
});
