// Facts of a photo in the words of photographers.

/** @import { Translator } from './i18n.js' */

/**
 * Read a number of EXIF: a number, or a fraction such as `1/125`. Null if it is none.
 * @param {unknown} value
 */
export function readNumber(value) {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'string') return null;
  const [, above, below = '1'] = value.trim().match(/^(-?[\d.]+)(?:\s*\/\s*([\d.]+))?$/) ?? [];
  const number = Number(above) / Number(below);
  return Number.isFinite(number) ? number : null;
}

/**
 * Format an exposure time: `1/125 s`, or `2.5 s`.
 * @param {number} seconds
 * @param {Pick<Translator, 'translate'>} translator
 */
function formatShutter(seconds, { translate }) {
  if (seconds >= 0.3) return translate('seconds', { n: seconds });
  return translate('shutter_fraction', { n: String(Math.round(1 / seconds)) });
}

/**
 * Describe how a photo was exposed: `1/125 s, f/2.8, ISO 400, 50 mm`. Empty if nothing is known.
 * @param {Record<string, unknown>} exif Tags by name.
 * @param {Pick<Translator, 'translate' | 'formatNumber'>} translator
 */
export function describeExposure(exif, translator) {
  const { translate, formatNumber } = translator;
  const shutter = readNumber(exif.ExposureTime);
  const aperture = readNumber(exif.FNumber);
  const speed = readNumber(exif.ISOSpeedRatings ?? exif.PhotographicSensitivity);
  const length = readNumber(exif.FocalLength);
  const parts = [];
  if (shutter) parts.push(formatShutter(shutter, translator));
  if (aperture) parts.push(`f/${formatNumber(aperture)}`);
  if (speed) parts.push(`ISO ${speed}`);
  if (length) parts.push(translate('focal_length', { n: length }));
  return parts.join(', ');
}

/**
 * Describe a lens. Empty if it is not known.
 * @param {Record<string, unknown>} exif
 */
export function describeLens({ LensMake: make, LensModel: model }) {
  const name = typeof model === 'string' ? model.trim() : '';
  const maker = typeof make === 'string' ? make.trim() : '';
  return maker && name && !name.toLowerCase().startsWith(maker.toLowerCase()) ? `${maker} ${name}` : name;
}

/**
 * Format a place as people write it: `48.85833° N, 2.50000° W`.
 * @param {number} latitude Degrees, north positive.
 * @param {number} longitude Degrees, east positive.
 */
export function formatPlace(latitude, longitude) {
  const north = `${Math.abs(latitude).toFixed(5)}° ${latitude < 0 ? 'S' : 'N'}`;
  return `${north}, ${Math.abs(longitude).toFixed(5)}° ${longitude < 0 ? 'W' : 'E'}`;
}

/**
 * Write a value of a condition: in quotes if it has more than letters, digits and plain signs.
 * @param {string} value
 */
export function quoteValue(value) {
  return /^[\w.:/#-]+$/.test(value) ? value : `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
