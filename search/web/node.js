// Elements of the document: made, found, and with icons.

const SVG = 'http://www.w3.org/2000/svg';

/** The element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A new element; properties are set as attributes, `text` as its text, functions as listeners. */
export function node(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'text') made.textContent = value;
    else if (typeof value === 'function') made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** One of the symbols of index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** File name and folder of a path, of either kind of system. */
export function parts(path) {
  const [, folder = '', name = path] = path.match(/^(.*)[/\\]([^/\\]*)$/s) ?? [];
  return { folder, name };
}

/** The last two parts of a folder: enough to know it by. */
export function near(folder) {
  const names = folder.split(/[/\\]/).filter(Boolean);
  return names.length > 2 ? `…/${names.slice(-2).join('/')}` : folder;
}

/** A path that may break after its separators. */
export function breaking(path) {
  return path.split(/(?<=[/\\])/).flatMap((part) => [part, node('wbr')]);
}

/** Whether a key is the browser's own, such as Alt and an arrow. */
export function browsers(event) {
  return event.altKey || event.ctrlKey || event.metaKey;
}

/** Close a dialog by a click beside it, that began there too: text is selected past its edge. */
export function dismiss(dialog) {
  let began = false;
  const beside = ({ target, clientX: x, clientY: y }) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    return target === dialog && (x < left || x > right || y < top || y > bottom);
  };
  dialog.addEventListener('pointerdown', (event) => {
    began = beside(event);
  });
  dialog.addEventListener('click', (event) => {
    if (began && beside(event)) dialog.close();
  });
}

/** An element is about to go, or to do nothing: if it has the focus, another gets it. */
export function leave(element, other) {
  if (element.contains(document.activeElement)) other.focus({ preventScroll: true });
}

/** Say something in passing, to eyes and to screen readers: over the dialog that is on top. */
export function tell(text) {
  const toast = byId('toast');
  const top = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;
  if (toast.parentElement !== top) top.append(toast);
  toast.textContent = text;
  toast.classList.add('shown');
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => toast.classList.remove('shown'), 5000);
}
