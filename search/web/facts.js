// What is known of a picture, as people read it. What can be searched for is a link.

import { createElement, createPath } from './dom.js';
import { describeExposure, describeLens, formatPlace, quoteValue } from './exposure.js';
import { translate, translator } from './i18n.js';
import { createLinkOut } from './links.js';
import { splitPath } from './paths.js';
import { getStorage, readPreferences } from './preferences.js';
import { formatRoute, routeToCondition, shortenId } from './route.js';

/** @import { Image } from './api.js' */
/** @import { TextKey } from './texts.js' */

const NEAR = '2km';
const MAP = 'https://www.openstreetmap.org/';

/** @typedef {(event: MouseEvent) => void} Follow Called when a link to results was clicked. */

/**
 * Create the names and values of what is known of a picture.
 * @param {Image} image
 * @param {number | undefined} score
 * @param {Follow} onFollow
 * @returns {HTMLElement[]} For a `dl`.
 */
export function createFacts(image, score, onFollow) {
  const facts = /** @type {[TextKey, (string | Node)[]][]} */ ([]);
  /** @type {(key: TextKey, ...value: (string | Node | null | undefined | false)[]) => void} */
  const add = (key, ...value) => {
    const parts = value.filter((part) => part instanceof Node || (typeof part === 'string' && part !== ''));
    if (parts.length) facts.push([key, /** @type {(string | Node)[]} */ (parts)]);
  };
  /** @type {(condition: string, ...text: (string | Node)[]) => HTMLAnchorElement} */
  const link = (condition, ...text) => createLink(condition, text, onFollow);

  const { latitude, longitude, taken, camera } = image;
  const lens = describeLens(image.exif);
  const pixels = translate('megapixels', { w: String(image.width), h: String(image.height) });
  add('fact_score', score?.toFixed(3));
  add('fact_taken', taken && link(`date=${taken.slice(0, 10)}`, translator.formatTime(taken)));
  add('fact_camera', camera && link(`camera=${quoteValue(camera)}`, camera));
  add('fact_lens', lens && link(`lens=${quoteValue(lens)}`, lens));
  add('fact_exposure', describeExposure(image.exif, translator));
  if (latitude !== null && longitude !== null) add('fact_place', ...createPlace(latitude, longitude, link));
  add('fact_size', `${pixels}, ${translator.formatBytes(image.bytes)}`);
  add('fact_type', link(`type=${image.type}`, image.type.toUpperCase()));
  if (image.palette.length) add('fact_palette', createSwatches(image.palette, onFollow));
  const labels = readPreferences(getStorage()).labels === 'off' ? [] : image.labels;
  add('fact_labels', ...join(labels.map(({ name, score: probability }) =>
    link(`label=${quoteValue(name)}`, `${name} ${translator.formatPercent(probability)}`))));
  add('fact_content', image.low_content && translate('blank_picture'));
  add('fact_truncated', image.truncated && translate('truncated_picture'));
  add('fact_name', image.original_name);
  add('fact_source', image.source_url && createLinkOut(image.source_url));
  add('source_page', image.page && createLinkOut(image.page));
  const { folder } = splitPath(image.path);
  add('fact_path', link(`folder=${quoteValue(folder)}`, ...createPath(folder)));
  for (const path of image.paths) if (path !== image.path) add('fact_also', ...createPath(path));
  add('fact_id', createElement('code', { text: shortenId(image.id), title: image.id }));
  return facts.flatMap(([key, value]) => createFact(translate(key), value));
}

/**
 * @param {string} name
 * @param {(string | Node)[]} value
 */
export function createFact(name, value) {
  return [createElement('dt', { text: name }), createElement('dd', {}, ...value)];
}

/**
 * @param {string} condition
 * @param {(string | Node)[]} text
 * @param {Follow} onFollow
 */
function createLink(condition, text, onFollow) {
  const href = formatRoute(routeToCondition(condition));
  return createElement('a', { href, title: translate('find_such', { condition }), click: onFollow }, ...text);
}

/**
 * @param {number} latitude
 * @param {number} longitude
 * @param {(condition: string, ...text: string[]) => HTMLAnchorElement} link
 */
function createPlace(latitude, longitude, link) {
  const href = `${MAP}?mlat=${latitude}&mlon=${longitude}#map=15/${latitude}/${longitude}`;
  const map = createElement('a', { href, target: '_blank', rel: 'noopener noreferrer', text: translate('show_map') });
  return [link(`near=${latitude},${longitude},${NEAR}`, formatPlace(latitude, longitude)), ' · ', map];
}

/**
 * @param {string[]} palette Colours of CSS.
 * @param {Follow} onFollow
 */
function createSwatches(palette, onFollow) {
  const list = createElement('span', { class: 'swatches' });
  for (const colour of palette) {
    const swatch = createLink(`color=${colour}`, [], onFollow);
    swatch.setAttribute('aria-label', translate('find_colour', { colour }));
    swatch.title = colour;
    swatch.style.background = colour;
    list.append(swatch);
  }
  return list;
}

/**
 * Put commas between nodes.
 * @param {Node[]} nodes
 */
function join(nodes) {
  return nodes.flatMap((node, i) => (i ? [', ', node] : [node]));
}
