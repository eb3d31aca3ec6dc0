// The places of lines of text on a picture. No function changes what it gets.

/** @typedef {{ width: number, height: number }} Size In pixels. */

const UPRIGHT = 1.5; // height by width from which on a line of several characters was read turned

/**
 * A line on a picture. left, top: where it begins, in pixels; length, height: along it and across it;
 * angle: radians, clockwise.
 * @typedef {{ left: number, top: number, length: number, height: number, angle: number }} LinePlace
 */

/**
 * Return where a picture is in its element: as large as fits, in the middle.
 * @param {Size} room
 * @param {Size} picture Its own size.
 */
export function fitPicture(room, picture) {
  const scale = Math.min(room.width / picture.width, room.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  return { left: (room.width - width) / 2, top: (room.height - height) / 2, width, height };
}

/**
 * Return where a line of text is on a picture of this size. A line that is much higher than wide was
 * read from the top to the bottom.
 * @param {readonly (readonly [number, number])[]} box Corners in shares of the sides: top left, top
 *   right, bottom right, bottom left.
 * @param {Size} picture
 * @param {number} characters Of the line.
 * @returns {LinePlace}
 */
export function placeLine(box, { width, height }, characters) {
  const [a, b, c, d] = box.map(([x, y]) => /** @type {const} */ ([x * width, y * height]));
  const [across, down] = [measure(a, b), measure(a, d)];
  const isTurned = characters > 1 && down >= UPRIGHT * across;
  const [start, end] = isTurned ? [b, c] : [a, b];
  return {
    left: start[0],
    top: start[1],
    length: isTurned ? down : across,
    height: isTurned ? across : down,
    angle: Math.atan2(end[1] - start[1], end[0] - start[0]),
  };
}

/**
 * @param {readonly [number, number]} a
 * @param {readonly [number, number]} b
 */
function measure(a, b) {
  return Math.hypot(b[0] - a[0], b[1] - a[1]);
}
