// Paths of files, of either kind of system.

/**
 * Split a path into its folder and its file name.
 * @param {string} path
 */
export function splitPath(path) {
  const [, folder = '', name = path] = path.match(/^(.*)[/\\]([^/\\]*)$/s) ?? [];
  return { folder, name };
}

/**
 * Return the last two parts of a folder: enough to know it by.
 * @param {string} folder
 */
export function shortenFolder(folder) {
  const names = folder.split(/[/\\]/).filter(Boolean);
  return names.length > 2 ? `…/${names.slice(-2).join('/')}` : folder;
}

/**
 * Return a file name without its extension.
 * @param {string} name
 */
export function removeExtension(name) {
  return name.replace(/\.\w+$/, '');
}

/**
 * Split a path after its separators, where a line may break.
 * @param {string} path
 */
export function splitAtSeparators(path) {
  return path.split(/(?<=[/\\])/);
}

/**
 * Return the path in the first `file:` URL of a list of URLs, or null.
 * @param {string} list As `text/uri-list` has it.
 */
export function parseFileAddress(list) {
  const line = list.split(/\r?\n/).find((one) => /^file:\/\//i.test(one));
  if (!line || !URL.canParse(line)) return null;
  try {
    const path = decodeURIComponent(new URL(line).pathname);
    const isWindows = /^\/[a-z]:/i.test(path);
    return (isWindows ? path.slice(1) : path).replace(/(.)\/$/, '$1');
  } catch {
    return null; // its bytes are not UTF-8
  }
}

/**
 * Return the media type of a picture by its file name.
 * @param {string} name
 */
export function getMediaType(name) {
  const suffix = name.match(/\.(\w+)$/)?.[1].toLowerCase() ?? '';
  const type = { jpg: 'jpeg', jpe: 'jpeg', jfif: 'jpeg', tif: 'tiff', heic: 'heif', hif: 'heif' }[suffix] ?? suffix;
  return type ? `image/${type}` : 'application/octet-stream';
}
