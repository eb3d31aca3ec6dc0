// Every key that the page handles. Other modules ask these functions what a key means.

/** @import { TextKey } from './texts.js' */

/**
 * What the help lists.
 * @type {readonly Readonly<{ keys: readonly string[], text: TextKey }>[]}
 */
export const SHORTCUTS = Object.freeze([
  { keys: ['Ctrl V'], text: 'key_paste' },
  { keys: ['←', '→', '↑', '↓'], text: 'key_arrows' },
  { keys: ['Home', 'End'], text: 'key_ends' },
  { keys: ['Enter'], text: 'key_open' },
  { keys: ['Space', 'Ctrl A'], text: 'key_select' },
  { keys: ['Delete'], text: 'key_bin' },
  { keys: ['+', '-', '0'], text: 'key_zoom' },
  { keys: ['T', 'F', 'S'], text: 'key_view' },
  { keys: ['1', '5'], text: 'key_stars' },
  { keys: ['Esc'], text: 'key_close' },
  { keys: ['Shift', '← → ↑ ↓'], text: 'key_crop' },
  { keys: ['Delete'], text: 'key_delete' },
  { keys: ['[', ']'], text: 'key_brush' },
  { keys: ['Ctrl Z'], text: 'key_undo' },
  { keys: ['?'], text: 'key_help' },
]);

/**
 * Return whether a key opens the help.
 * @param {Pick<KeyboardEvent, 'key' | 'altKey' | 'ctrlKey' | 'metaKey'>} event
 */
export function isHelpKey(event) {
  return event.key === '?' && !isBrowserShortcut(event);
}

/** @type {Readonly<Record<string, readonly [number, number]>>} */
const DIRECTIONS = Object.freeze({
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
});

/**
 * Return whether a key belongs to the browser, such as Alt and an arrow.
 * @param {Pick<KeyboardEvent, 'altKey' | 'ctrlKey' | 'metaKey'>} event
 */
export function isBrowserShortcut(event) {
  return event.altKey || event.ctrlKey || event.metaKey;
}

/**
 * Return whether a click asks the browser for another tab or window.
 * @param {Pick<MouseEvent, 'ctrlKey' | 'metaKey' | 'shiftKey' | 'button'>} event
 */
export function opensElsewhere(event) {
  return event.ctrlKey || event.metaKey || event.shiftKey || event.button > 0;
}

/**
 * Return the direction of an arrow key, (right, down), or null for another key.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function getDirection({ key }) {
  return Object.hasOwn(DIRECTIONS, key) ? DIRECTIONS[key] : null;
}

/**
 * Return `first` for Home, `last` for End, or null.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function getEnd({ key }) {
  if (key === 'Home') return 'first';
  return key === 'End' ? 'last' : null;
}

/**
 * Return whether a key deletes what is selected.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function isDeleteKey({ key }) {
  return key === 'Delete' || key === 'Backspace';
}

/**
 * Return whether a key presses the button that has the focus.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function isPressKey({ key }) {
  return key === ' ' || key === 'Enter';
}

/**
 * Return whether a key selects all pictures: Ctrl+A, or Cmd+A.
 * @param {Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey'>} event
 */
export function isSelectAllKey({ key, ctrlKey, metaKey, altKey }) {
  return (ctrlKey || metaKey) && !altKey && key.toLowerCase() === 'a';
}

/**
 * Return whether a key selects the picture that has the focus.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function isSelectKey({ key }) {
  return key === ' ';
}

/**
 * Return whether a key accepts what is being written: not a line break, nor a choice of an input method.
 * @param {Pick<KeyboardEvent, 'key' | 'shiftKey' | 'isComposing'>} event
 */
export function isAcceptKey({ key, shiftKey, isComposing }) {
  return key === 'Enter' && !shiftKey && !isComposing;
}

/**
 * Return whether a key takes something back.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function isCancelKey({ key }) {
  return key === 'Escape';
}

/**
 * Return what a key does to the picture that is shown large, or null.
 * @param {Pick<KeyboardEvent, 'key'>} event
 * @returns {'in' | 'out' | 'whole' | 'full' | 'slides' | 'text' | null}
 */
export function getViewAction({ key }) {
  const zoom = getZoomStep({ key });
  if (zoom) return zoom > 0 ? 'in' : 'out';
  if (key === '0') return 'whole';
  if (key === 'f') return 'full';
  if (key === 't') return 'text';
  return key === 's' ? 'slides' : null;
}

/**
 * Return what a key does in the groups of duplicates, or null.
 * @param {Pick<KeyboardEvent, 'key'>} event
 * @returns {'keep' | 'remove' | 'undo' | null}
 */
export function getDuplicateAction({ key }) {
  if (key === ' ' || key === 'k') return 'keep';
  if (key === 'Enter' || isDeleteKey({ key })) return 'remove';
  return key === 'z' ? 'undo' : null;
}

/**
 * Return the stars that a key gives to the picture that is shown large, or 0.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function getStars({ key }) {
  return /^[1-5]$/.test(key) ? Number(key) : 0;
}

/**
 * Return what a key does in a list below a text box: the step to another option, `take` or `close`, or
 * null for another key. Keys of an input method, as for Chinese, do nothing.
 * @param {Pick<KeyboardEvent, 'key' | 'isComposing'>} event
 */
export function getListAction({ key, isComposing }) {
  if (isComposing) return null;
  if (key === 'Enter') return 'take';
  if (key === 'Escape') return 'close';
  return { ArrowDown: 1, ArrowUp: -1 }[key] ?? null;
}

/**
 * Return what a key does while a mask is drawn, or null. The brackets may need AltGr, which is Ctrl and Alt at once, or
 * be the keys in their place on another keyboard.
 * @param {Pick<KeyboardEvent, 'key' | 'code' | 'ctrlKey' | 'metaKey' | 'altKey'>} event
 * @returns {'smaller' | 'larger' | 'undo' | 'spot' | null}
 */
export function getBrushAction({ key, code, ctrlKey, metaKey, altKey }) {
  if ((ctrlKey || metaKey) && !altKey) return key.toLowerCase() === 'z' ? 'undo' : null;
  if (key === '[' || code === 'BracketLeft') return 'smaller';
  if (key === ']' || code === 'BracketRight') return 'larger';
  return key === ' ' ? 'spot' : null;
}

/**
 * Return whether a key lets the arrow keys draw while it is held.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function isDrawKey({ key }) {
  return key === 'Shift';
}

/**
 * Return 1 for a key that zooms in, -1 for one that zooms out, or 0.
 * @param {Pick<KeyboardEvent, 'key'>} event
 */
export function getZoomStep({ key }) {
  if (key === '+' || key === '=') return 1;
  return key === '-' || key === '_' ? -1 : 0;
}

/**
 * Return how far a key goes on the timeline, or null.
 * @param {Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey'>} event
 * @returns {{ by: number, isByYear: boolean } | null}
 */
export function getTimelineStep({ key, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey) return null;
  if (key === 'ArrowDown' || key === 'ArrowRight') return { by: 1, isByYear: false };
  if (key === 'ArrowUp' || key === 'ArrowLeft') return { by: -1, isByYear: false };
  if (key === 'PageDown') return { by: 1, isByYear: true };
  if (key === 'PageUp') return { by: -1, isByYear: true };
  if (key === 'Home') return { by: -Infinity, isByYear: false };
  return key === 'End' ? { by: Infinity, isByYear: false } : null;
}
