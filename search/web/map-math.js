// The map of places: positions in its square, and what a view of it shows.
//
// The square is the world in Web Mercator, 0..1 from west to east and from north to south.

const MAX_LATITUDE = 85.051129; // the edges of the square
const EARTH_KM = 40_075; // around the equator
export const MIN_ZOOM = 1;
export const MAX_ZOOM = 2 ** 16;

/**
 * A part of the square. x, y: its middle. zoom: how many times it is smaller than the whole world.
 * @typedef {{ readonly x: number, readonly y: number, readonly zoom: number }} View
 */

/**
 * Degrees.
 * @typedef {{ west: number, south: number, east: number, north: number }} Bounds
 */

/** @type {View} */
export const WORLD = Object.freeze({ x: 0.5, y: 0.45, zoom: MIN_ZOOM });

/**
 * Return the position in the square of a place in degrees.
 * @param {number} longitude
 * @param {number} latitude
 * @returns {[number, number]}
 */
export function project(longitude, latitude) {
  const limited = Math.min(MAX_LATITUDE, Math.max(-MAX_LATITUDE, latitude));
  const angle = (limited * Math.PI) / 180;
  return [longitude / 360 + 0.5, 0.5 - Math.asinh(Math.tan(angle)) / (2 * Math.PI)];
}

/**
 * Return longitude and latitude of a position in the square.
 * @param {number} x
 * @param {number} y
 * @returns {[number, number]}
 */
export function unproject(x, y) {
  return [(x - 0.5) * 360, (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI];
}

/**
 * Keep a view on the world.
 * @param {View} view
 * @returns {View}
 */
export function limitView({ x, y, zoom }) {
  return {
    x: x - Math.floor(x),
    y: Math.min(1, Math.max(0, y)),
    zoom: Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom)),
  };
}

/**
 * Move a view by pixels.
 * @param {View} view
 * @param {number} right
 * @param {number} down
 * @param {number} side Pixels of the whole world at zoom 1.
 */
export function moveView({ x, y, zoom }, right, down, side) {
  return limitView({ x: x + right / (side * zoom), y: y + down / (side * zoom), zoom });
}

/**
 * Zoom a view; the place under a point stays where it is.
 * @param {View} view
 * @param {number} factor
 * @param {readonly [number, number]} point Pixels from the middle.
 * @param {number} side Pixels of the whole world at zoom 1.
 */
export function zoomView({ x, y, zoom }, factor, [right, down], side) {
  const next = limitView({ x, y, zoom: zoom * factor }).zoom;
  const shift = 1 / (side * zoom) - 1 / (side * next);
  return limitView({ x: x + right * shift, y: y + down * shift, zoom: next });
}

/**
 * Return the bounds of what a view shows. East may be above 180, or west below -180.
 * @param {View} view
 * @param {number} width Pixels.
 * @param {number} height Pixels.
 * @param {number} side Pixels of the whole world at zoom 1.
 * @returns {Bounds}
 */
export function getBounds({ x, y, zoom }, width, height, side) {
  const right = Math.min(0.5, width / (2 * side * zoom));
  const down = height / (2 * side * zoom);
  const [west, north] = unproject(x - right, Math.max(0, y - down));
  const [east, south] = unproject(x + right, Math.min(1, y + down));
  return { west, south, east, north };
}

/**
 * Return whether two bounds have places in common.
 * @param {Bounds} one
 * @param {Bounds} other
 */
export function isWithin(one, other) {
  const isAcross = one.east >= other.west && one.west <= other.east;
  return isAcross && one.north >= other.south && one.south <= other.north;
}

/**
 * Widen bounds to whole cells of a grid that stays where it is while the map moves, so that groups
 * stay the same too.
 * @param {Bounds} bounds
 * @param {number} cells From west to east.
 * @returns {{ bounds: Bounds, cells: number }}
 */
export function snapBounds({ west, south, east, north }, cells) {
  const side = 2 ** Math.round(Math.log2((east - west) / cells)); // a zoom by little keeps it
  const [first, last] = [Math.floor(west / side), Math.ceil(east / side)];
  const low = Math.max(-90, Math.floor(south / side) * side);
  const snapped = { west: first * side, south: low, east: last * side, north };
  if ((last - first) * side > 360) return { bounds: { west, south, east, north }, cells };
  return { bounds: snapped, cells: last - first };
}

/**
 * Return the view that shows all places, with some room around them.
 * @param {{ latitude: number, longitude: number }[]} places
 * @param {number} width Pixels.
 * @param {number} height Pixels.
 * @param {number} side Pixels of the whole world at zoom 1.
 */
export function fitView(places, width, height, side) {
  if (!places.length) return WORLD;
  const points = places.map(({ longitude, latitude }) => project(longitude, latitude));
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const room = 1.4;
  const across = Math.max(right - left, 1e-4) * side * room;
  const along = Math.max(bottom - top, 1e-4) * side * room;
  const zoom = Math.min(width / across, height / along);
  return limitView({ x: (left + right) / 2, y: (top + bottom) / 2, zoom });
}

/**
 * Return pixels from the middle of a view to a position in the square, the nearer way around.
 * @param {View} view
 * @param {readonly [number, number]} position
 * @param {number} side Pixels of the whole world at zoom 1.
 * @returns {[number, number]}
 */
export function toPixels({ x, y, zoom }, [px, py], side) {
  const across = px - x - Math.round(px - x);
  return [across * side * zoom, (py - y) * side * zoom];
}

/**
 * Return the radius in km around the middle of bounds that reaches their nearest edge.
 * @param {Bounds} bounds
 */
export function getRadius({ west, south, east, north }) {
  const middle = (south + north) / 2;
  const across = ((east - west) / 360) * EARTH_KM * Math.cos((middle * Math.PI) / 180);
  const along = ((north - south) / 360) * EARTH_KM;
  return Math.min(across, along) / 2;
}

/**
 * Return the condition that finds the pictures around a place.
 * @param {number} latitude
 * @param {number} longitude
 * @param {number} km
 */
export function formatNear(latitude, longitude, km) {
  const digits = km < 1 ? 5 : km < 100 ? 3 : 1;
  const radius = km < 1 ? Math.max(0.05, Number(km.toFixed(2))) : Number(km.toPrecision(2));
  const turned = ((((longitude + 180) % 360) + 360) % 360) - 180;
  return `near=${latitude.toFixed(digits)},${turned.toFixed(digits)},${radius}km`;
}

/**
 * Decode a line of the outlines: the first point and differences, in steps of a degree.
 * @param {readonly number[]} line
 * @param {number} steps Of a degree.
 * @returns {[number, number][]} Positions in the square.
 */
export function decodeLine(line, steps) {
  const points = /** @type {[number, number][]} */ ([]);
  let [longitude, latitude] = [0, 0];
  for (let i = 0; i + 1 < line.length; i += 2) {
    longitude += line[i];
    latitude += line[i + 1];
    points.push(project(longitude / steps, latitude / steps));
  }
  return points;
}
