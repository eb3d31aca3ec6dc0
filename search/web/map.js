// The map of places: where the pictures were taken, on outlines that come with the page.

import { getAddress } from './api.js';
import { createElement, getElement } from './dom.js';
import { translate } from './i18n.js';
import { getDirection, getZoomStep, isBrowserShortcut } from './keyboard.js';
import {
  WORLD,
  decodeLine,
  isWithin,
  fitView,
  formatNear,
  getBounds,
  getRadius,
  limitView,
  moveView,
  project,
  snapBounds,
  toPixels,
  zoomView,
} from './map-math.js';
import { isAbort } from './problems.js';

/** @import { Api, PlaceGroup } from './api.js' */
/** @import { View } from './map-math.js' */

/**
 * What the dialog calls.
 * @typedef {object} Callbacks
 * @property {(where: string) => void} onSearch Search the pictures of a place: a condition.
 * @property {() => string[]} getConditions Conditions of the pictures that are shown.
 * @property {(error: unknown) => void} onProblem
 */

const SIDE = 640; // pixels of the world at zoom 1
const MAX_CELLS = 64; // that the server answers
const CELL = 90; // pixels between two groups of pictures
const STEP = 80; // pixels of an arrow key
const WAIT_MS = 120; // before the groups of another view are loaded
const ZOOM_STEP = 1.6;
const WHEEL = 0.0018;
const CLICK = 4; // pixels that a click may move

/**
 * Lines of the world.
 * @typedef {{ land: Path2D, borders: Path2D }} Outlines
 */

export class MapDialog {
  #api;
  #callbacks;
  #dialog = getElement('map', HTMLDialogElement);
  #stage = getElement('map-stage');
  #canvas = getElement('map-canvas', HTMLCanvasElement);
  #groups = getElement('map-groups', HTMLUListElement);
  #summary = getElement('map-summary');

  /** @type {View} */
  #view = WORLD;

  /** @type {Outlines | null} */
  #outlines = null;

  /** Positions of the pointers that are down, by id. @type {Map<number, [number, number]>} */
  #pointers = new Map();

  #moved = 0;
  #timer = 0;

  /** Whether the places that the view is to show are being loaded. */
  #isFitting = false;

  #loading = new AbortController();

  /** @type {PlaceGroup[]} */
  #shown = [];

  /**
   * @param {Api} api
   * @param {Callbacks} callbacks
   */
  constructor(api, callbacks) {
    this.#api = api;
    this.#callbacks = callbacks;
    getElement('map-close').addEventListener('click', () => this.#dialog.close());
    getElement('map-in').addEventListener('click', () => this.#zoom(ZOOM_STEP));
    getElement('map-out').addEventListener('click', () => this.#zoom(1 / ZOOM_STEP));
    getElement('map-all').addEventListener('click', () => this.#fit());
    getElement('map-search').addEventListener('click', () => this.#searchView());
    this.#stage.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.#zoom(Math.exp(-event.deltaY * (event.deltaMode ? 20 : 1) * WHEEL), this.#getPoint(event));
    }, { passive: false });
    this.#stage.addEventListener('dblclick', (event) => {
      const isButton = event.target instanceof Element && event.target.closest('button');
      if (!isButton) this.#zoom(ZOOM_STEP ** 2, this.#getPoint(event));
    });
    this.#stage.addEventListener('pointerdown', (event) => this.#press(event));
    this.#stage.addEventListener('pointermove', (event) => this.#drag(event));
    for (const name of ['pointerup', 'pointercancel']) {
      this.#stage.addEventListener(name, (event) => {
        this.#pointers.delete(/** @type {PointerEvent} */ (event).pointerId);
      });
    }
    this.#dialog.addEventListener('keydown', (event) => this.#handleKey(event));
    this.#dialog.addEventListener('close', () => {
      clearTimeout(this.#timer);
      this.#loading.abort();
    });
    new ResizeObserver(() => {
      if (this.#dialog.open) this.#update();
    }).observe(this.#stage);
  }

  /** Show the places of the pictures. */
  async open() {
    this.#dialog.showModal();
    this.#stage.focus();
    this.#summary.textContent = translate('loading');
    this.#outlines ??= await this.#loadOutlines();
    await this.#fit();
  }

  async #loadOutlines() {
    const { steps, land, borders } = await this.#api.fetchOutlines();
    /** @type {(lines: number[][], isClosed: boolean) => Path2D} */
    const trace = (lines, isClosed) => {
      const path = new Path2D();
      for (const line of lines) {
        const points = decodeLine(line, steps);
        points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
        if (isClosed) path.closePath();
      }
      return path;
    };
    return { land: trace(land, true), borders: trace(borders, false) };
  }

  /** Show all places. */
  async #fit() {
    clearTimeout(this.#timer);
    this.#isFitting = true;
    const groups = await this.#load({ west: -180, south: -90, east: 180, north: 90 }, 64);
    this.#isFitting = false;
    if (!groups) return;
    this.#view = fitView(groups, this.#stage.clientWidth, this.#stage.clientHeight, SIDE);
    this.#update();
  }

  /**
   * Load groups of pictures. Returns null if another view is loaded instead.
   * @param {import('./map-math.js').Bounds} bounds
   * @param {number} cells Groups from west to east, at most.
   */
  async #load(bounds, cells) {
    this.#loading.abort();
    this.#loading = new AbortController();
    try {
      return await this.#api.fetchPlaces(bounds, cells, this.#callbacks.getConditions(), this.#loading.signal);
    } catch (error) {
      if (!isAbort(error)) this.#callbacks.onProblem(error);
      return null;
    }
  }

  /** Draw the view at once, and load its groups in a moment. */
  #update() {
    this.#draw();
    this.#placeGroups();
    clearTimeout(this.#timer);
    if (this.#isFitting) return; // the present view is about to be replaced
    this.#timer = setTimeout(async () => {
      const { clientWidth: width, clientHeight: height } = this.#stage;
      const bounds = getBounds(this.#view, width, height, SIDE);
      const grid = snapBounds(bounds, Math.max(1, Math.round(width / CELL)));
      const groups = await this.#load(grid.bounds, Math.min(MAX_CELLS, grid.cells));
      if (!groups) return;
      this.#shown = groups.filter((group) => isWithin(group, bounds)); // cells reach past the edges
      const count = this.#shown.reduce((sum, group) => sum + group.pictures, 0);
      this.#summary.textContent = count ? translate('map_pictures', { n: count }) : translate('map_none');
      getElement('map-search', HTMLButtonElement).disabled = !count;
      this.#createGroups();
    }, WAIT_MS);
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#stage;
    const ratio = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const context = this.#canvas.getContext('2d');
    if (!context || !this.#outlines) return;
    const style = getComputedStyle(this.#stage);
    const scale = SIDE * this.#view.zoom * ratio;
    for (const turn of [-1, 0, 1]) {
      const left = (turn - this.#view.x) * scale + this.#canvas.width / 2;
      context.setTransform(scale, 0, 0, scale, left, -this.#view.y * scale + this.#canvas.height / 2);
      context.fillStyle = style.getPropertyValue('--map-land');
      context.fill(this.#outlines.land);
      context.lineWidth = ratio / scale;
      context.strokeStyle = style.getPropertyValue('--map-border');
      context.stroke(this.#outlines.borders);
      context.strokeStyle = style.getPropertyValue('--map-coast');
      context.stroke(this.#outlines.land);
    }
  }

  #createGroups() {
    const buttons = this.#shown.map((group) => {
      const label = translate('map_group', { n: group.pictures });
      const button = createElement('button', { type: 'button', class: 'map-group', 'aria-label': label, title: label });
      const src = getAddress(group.id, 'thumbnail');
      button.append(createElement('img', { src, alt: '', loading: 'lazy', draggable: 'false' }));
      if (group.pictures > 1) button.append(createElement('span', { text: String(group.pictures) }));
      button.addEventListener('click', () => {
        if (this.#moved <= CLICK) this.#openGroup(group);
      });
      return createElement('li', {}, button);
    });
    this.#groups.replaceChildren(...buttons);
    this.#placeGroups();
  }

  #placeGroups() {
    this.#shown.forEach(({ longitude, latitude }, i) => {
      const item = /** @type {HTMLElement | undefined} */ (this.#groups.children[i]);
      const [right, down] = toPixels(this.#view, project(longitude, latitude), SIDE);
      if (item) item.style.transform = `translate(${right.toFixed(1)}px, ${down.toFixed(1)}px)`;
    });
  }

  /** @param {PlaceGroup} group */
  #openGroup({ latitude, longitude, west, south, east, north }) {
    const isOnePlace = east - west < 1e-4 && north - south < 1e-4;
    if (isOnePlace) {
      this.#search(formatNear(latitude, longitude, 0.1));
      return;
    }
    const corners = [{ latitude: south, longitude: west }, { latitude: north, longitude: east }];
    const view = fitView(corners, this.#stage.clientWidth, this.#stage.clientHeight, SIDE);
    this.#view = limitView({ ...view, zoom: Math.max(view.zoom, this.#view.zoom * ZOOM_STEP) });
    this.#update();
  }

  #searchView() {
    const { clientWidth: width, clientHeight: height } = this.#stage;
    const bounds = getBounds(this.#view, width, height, SIDE);
    const [longitude, latitude] = [(bounds.west + bounds.east) / 2, (bounds.south + bounds.north) / 2];
    this.#search(formatNear(latitude, longitude, getRadius(bounds)));
  }

  /** @param {string} where */
  #search(where) {
    this.#dialog.close();
    this.#callbacks.onSearch(where);
  }

  /**
   * @param {number} factor
   * @param {[number, number]} [point] Pixels from the middle.
   */
  #zoom(factor, point = [0, 0]) {
    this.#view = zoomView(this.#view, factor, point, SIDE);
    this.#update();
  }

  /**
   * Return the pixels of a pointer from the middle.
   * @param {MouseEvent} event
   * @returns {[number, number]}
   */
  #getPoint({ clientX, clientY }) {
    const { left, top, width, height } = this.#stage.getBoundingClientRect();
    return [clientX - left - width / 2, clientY - top - height / 2];
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button) return;
    if (!this.#pointers.size) this.#moved = 0;
    this.#pointers.set(event.pointerId, this.#getPoint(event));
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#getPoint(event);
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    this.#pointers.set(event.pointerId, now);
    const [right, down] = [now[0] - before[0], now[1] - before[1]];
    this.#moved += Math.hypot(right, down);
    if (this.#moved > CLICK && event.target instanceof Element) this.#stage.setPointerCapture(event.pointerId);
    if (others.length) {
      const [, other] = others[0];
      /** @param {[number, number]} point */
      const reach = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
      const factor = reach(now) / reach(before);
      this.#zoom(factor, [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    } else {
      this.#view = moveView(this.#view, -right, -down, SIDE);
      this.#update();
    }
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    if (isBrowserShortcut(event)) return;
    const direction = getDirection(event);
    const zoom = getZoomStep(event);
    if (direction) this.#view = moveView(this.#view, direction[0] * STEP, direction[1] * STEP, SIDE);
    else if (zoom) this.#view = zoomView(this.#view, ZOOM_STEP ** zoom, [0, 0], SIDE);
    else return;
    event.preventDefault();
    this.#update();
  }
}
