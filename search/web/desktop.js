// The desktop of the computer that the server runs on, for a browser on the same one.

/** @import { Api } from './api.js' */

/**
 * Return whether files can be shown in the file manager: where there is one, and to whom the library belongs.
 * @param {Api} api
 */
export async function canShowFiles(api) {
  if (!isThisComputer(location.hostname)) return false;
  try {
    return (await api.fetchDesktop()).shows_files;
  } catch {
    return false; // a user of the server, who does not own it
  }
}

/**
 * Return whether a host is the computer that the browser runs on.
 * @param {string} host
 */
export function isThisComputer(host) {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d+){3}$/.test(host);
}
