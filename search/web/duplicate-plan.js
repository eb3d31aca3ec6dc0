// What is kept and removed of a group of duplicates, and how its pictures differ. Nothing here knows
// the document.

/** @import { Duplicate, DuplicateGroup, FileOfPicture } from './api.js' */

/** What is compared of the pictures of a group, in the order in which it is shown. */
export const COMPARED = Object.freeze(/** @type {const} */ ([
  'pixels', 'bytes', 'type', 'taken', 'camera', 'folder', 'files', 'tags', 'rating', 'favourite',
]));

/** @typedef {typeof COMPARED[number]} Compared */

/**
 * Return which picture of a group the server would keep.
 * @param {Pick<DuplicateGroup, 'pictures'>} group
 */
export function findKept({ pictures }) {
  return Math.max(0, pictures.findIndex(({ action }) => action === 'keep'));
}

/**
 * Return whether a picture goes when another one of its group is kept: not one that is no mere
 * duplicate, and none that other files belong to.
 * @param {Pick<Duplicate, 'action' | 'companions'>} picture
 */
export function isRemovable({ action, companions }) {
  return action !== 'leave' && !companions.length;
}

/**
 * Return what removing does.
 * @param {Pick<DuplicateGroup, 'pictures'>} group
 * @param {number} kept Index of the picture that is kept.
 * @returns {{ keep: FileOfPicture, remove: FileOfPicture[], pictures: Duplicate[], bytes: number }}
 */
export function planRemoval({ pictures }, kept) {
  const removed = pictures.filter((picture, i) => i !== kept && isRemovable(picture));
  return {
    keep: pictures[kept].files[0],
    remove: removed.flatMap(({ files }) => files),
    pictures: removed,
    bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/**
 * Return what the pictures of a group differ in.
 * @param {readonly Duplicate[]} pictures
 * @returns {Set<Compared>}
 */
export function findDifferences(pictures) {
  const differs = (/** @type {Compared} */ name) => new Set(pictures.map((one) => readValue(one, name))).size > 1;
  return new Set(COMPARED.filter(differs));
}

/**
 * Return a value by which pictures are compared.
 * @param {Duplicate} picture
 * @param {Compared} name
 */
function readValue(picture, name) {
  if (name === 'pixels') return `${picture.width}x${picture.height}`;
  if (name === 'folder') return getFolder(picture.path);
  if (name === 'files') return picture.files.length;
  if (name === 'tags') return [...picture.tags].sort().join('\n');
  return picture[name] || null;
}

/** @param {string} path */
export function getFolder(path) {
  return path.slice(0, Math.max(0, path.lastIndexOf('/'))) || '/';
}
