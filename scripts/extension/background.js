// The service worker: menu items of pictures, and what they do.

importScripts('server.js');

const MOST_BYTES = 64 * 2 ** 20; // a server takes no more by itself
const BADGE_MS = 4000;

/**
 * A picture of a page. blob: its bytes, null if the page may not read them.
 * @typedef {{ url: string, blob: Blob | null }} Picture
 */

chrome.runtime.onInstalled.addListener(({ reason }) => {
  chrome.contextMenus.removeAll(() => {
    for (const id of ['search', 'keep']) {
      chrome.contextMenus.create({ id, contexts: ['image'], title: chrome.i18n.getMessage(id) });
    }
  });
  if (reason === 'install') chrome.runtime.openOptionsPage();
});
chrome.contextMenus.onClicked.addListener((info, tab) => {
  handleClick(info, tab);
});
chrome.action.onClicked.addListener(() => {
  openServer();
});

/**
 * Do what a menu item says, and tell the user how it went.
 * @param {{ menuItemId: string | number, srcUrl?: string, pageUrl?: string, frameId?: number }} info
 * @param {{ id?: number, index?: number }} [tab] The one with the picture.
 */
async function handleClick({ menuItemId, srcUrl = '', pageUrl = '', frameId = 0 }, tab = {}) {
  try {
    const server = await readServer();
    const picture = { url: srcUrl, blob: await readPicture(srcUrl, tab.id, frameId) };
    if (!picture.blob && !/^https?:/.test(srcUrl)) throw new UserProblem('problem_unreadable');
    if (menuItemId === 'search') await searchPicture(server, picture, tab);
    else await tellKept(await keepPicture(server, picture, pageUrl));
  } catch (error) {
    await tellProblem(error);
  }
}

/**
 * Return the bytes of a picture as the page itself may read them, so that one behind a login works.
 * Null if it may not; then the server fetches it by its address.
 * @param {string} url
 * @param {number | undefined} tabId
 * @param {number} frameId
 * @returns {Promise<Blob | null>}
 */
async function readPicture(url, tabId, frameId) {
  if (url.startsWith('data:')) return (await fetch(url)).blob();
  if (tabId === undefined) return null;
  try {
    const target = { tabId, frameIds: [frameId] };
    const [{ result }] = await chrome.scripting.executeScript({ target, func: readInPage, args: [url, MOST_BYTES] });
    return result ? (await fetch(result)).blob() : null;
  } catch {
    return null; // a page that extensions may not enter
  }
}

/**
 * Return a picture as a data URL, or null. Runs in the page, with the rights of the page.
 * @param {string} url
 * @param {number} mostBytes
 * @returns {Promise<string | null>}
 */
async function readInPage(url, mostBytes) {
  try {
    const response = await fetch(url, { cache: 'force-cache' });
    const blob = await response.blob();
    if (!response.ok || !blob.type.startsWith('image/') || blob.size > mostBytes) return null;
    return await new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.addEventListener('load', () => resolve(String(reader.result)));
      reader.addEventListener('error', reject);
      reader.readAsDataURL(blob);
    });
  } catch {
    return null;
  }
}

/**
 * Open the page of the server with a picture as the query.
 * @param {Server} server
 * @param {Picture} picture
 * @param {{ index?: number }} tab
 */
async function searchPicture(server, { url, blob }, tab) {
  let place = `${server.address}/?q=${encodeURIComponent(url)}`;
  if (blob) {
    const body = new FormData();
    body.append('image', blob, nameFile(url, blob));
    place = (await send(server, '/share', { method: 'POST', body })).url; // it was redirected to the page
  }
  const index = tab.index === undefined ? {} : { index: tab.index + 1 };
  await chrome.tabs.create({ url: place, ...index });
}

/**
 * Put a picture into the library. Returns whether it is new there.
 * @param {Server} server
 * @param {Picture} picture
 * @param {string} pageUrl
 */
async function keepPicture(server, { url, blob }, pageUrl) {
  const source = /^https?:/.test(pageUrl) ? { source: pageUrl.slice(0, 4096) } : {};
  let options;
  if (blob) {
    const body = new FormData();
    body.append('image', blob, nameFile(url, blob));
    body.append('options', JSON.stringify(source));
    options = { method: 'POST', body };
  } else {
    const headers = { 'Content-Type': 'application/json' };
    options = { method: 'POST', headers, body: JSON.stringify({ url, ...source }) };
  }
  return (await send(server, '/api/v1/images', options)).status === 201;
}

/**
 * Return the name of the file of a picture.
 * @param {string} url
 * @param {Blob} blob
 */
function nameFile(url, blob) {
  const last = /^https?:/.test(url) ? new URL(url).pathname.split('/').at(-1) : '';
  const ending = blob.type.replace(/^image\//, '').replace(/\+.*$/, '').replace('jpeg', 'jpg');
  try {
    return decodeURIComponent(last || '') || `picture.${ending}`;
  } catch {
    return last || `picture.${ending}`;
  }
}

/** Open the page of the server, or the options if there is none. */
async function openServer() {
  try {
    const { address } = await readServer();
    await chrome.tabs.create({ url: address });
  } catch {
    await chrome.runtime.openOptionsPage();
  }
}

/** @param {boolean} isNew */
async function tellKept(isNew) {
  await show('✓', '#0b7a69', chrome.i18n.getMessage(isNew ? 'kept' : 'known'));
}

/** @param {unknown} error */
async function tellProblem(error) {
  const isForUser = error instanceof UserProblem;
  const text = isForUser ? error.message : chrome.i18n.getMessage('problem_other', [String(error)]);
  await show('!', '#b3261e', text);
  const isMissing = isForUser && ['problem_no_server', 'problem_no_permission'].includes(error.key);
  if (isMissing) await chrome.runtime.openOptionsPage();
}

/**
 * Show a badge for some seconds, and a notification.
 * @param {string} mark
 * @param {string} color
 * @param {string} message
 */
async function show(mark, color, message) {
  await chrome.action.setBadgeBackgroundColor({ color });
  await chrome.action.setBadgeText({ text: mark });
  setTimeout(() => chrome.action.setBadgeText({ text: '' }), BADGE_MS);
  const title = chrome.i18n.getMessage('name');
  await chrome.notifications.create('result', { type: 'basic', iconUrl: 'icon-128.png', title, message });
}
