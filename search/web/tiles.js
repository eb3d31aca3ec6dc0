// Where pictures stand that are made: of one shape, all to be seen.

import { node } from './node.js';

const AROUND = 56; // pixels of the panel that are not for pictures
const GAP = 16;
const TOOLS = 40; // pixels under each picture
const SOURCE = 38; // pixels of the line that names the picture that it started from
const LEAST = 116; // pixels of a picture's width

/** The shape of a picture, as it is shown here. */
function ratio({ naturalWidth: width, naturalHeight: height }) {
  return Math.min(2.5, Math.max(0.5, width / height || 1));
}

/** Choose columns for so many pictures of the shape of one, so that they are large. sources:
 * whether each has a line with its source. */
export function arrange(list, count, other, sources) {
  const below = TOOLS + (sources ? SOURCE : 0);
  const { width, height } = list.parentElement.getBoundingClientRect();
  let best = { columns: 1, wide: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const row = (height - AROUND) / Math.ceil(count / columns);
    const wide = Math.min((width - AROUND) / columns - GAP, (row - below - GAP) * ratio(other));
    if (wide > best.wide) best = { columns, wide };
  }
  list.style.setProperty('--columns', best.columns);
  list.style.setProperty('--wide', `${Math.max(LEAST, Math.floor(best.wide))}px`);
}

/** A picture of the shape of another one. */
export function shaped(other) {
  const image = node('img', { alt: '' });
  image.style.aspectRatio = `${ratio(other)}`;
  return image;
}

/** The place of a picture that is being made. */
export function blank(other) {
  const image = shaped(other);
  image.addEventListener('load', () => image.classList.add('begun'));
  return node('li', { class: 'blank' }, node('span', { class: 'picked' }, image), node('div', { class: 'tools' }));
}
