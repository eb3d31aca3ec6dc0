// The user's server: where it is, its token, and requests to it. The worker and the options page share it.

/** A problem that is told to the user. key: of a message in _locales; values: what it names. */
class UserProblem extends Error {
  /**
   * @param {string} key
   * @param {...string} values
   */
  constructor(key, ...values) {
    super(chrome.i18n.getMessage(key, values) || key);
    this.key = key;
  }
}

/**
 * A server. address: without a slash at its end.
 * @typedef {{ address: string, token: string }} Server
 */

/**
 * Return the origin of an address as it was typed. Throws UserProblem for what is no http address.
 * @param {string} text
 */
function parseAddress(text) {
  const typed = text.trim();
  let url;
  try {
    url = new URL(/^[a-z]+:\/\//i.test(typed) ? typed : `http://${typed}`);
  } catch {
    throw new UserProblem('problem_address', typed);
  }
  if (!/^https?:$/.test(url.protocol)) throw new UserProblem('problem_address', typed);
  return url.origin;
}

/**
 * Return the pattern of the one host that the extension asks to reach.
 * @param {string} address
 */
function getPattern(address) {
  return `${address}/*`;
}

/**
 * Return the server of the options. Throws UserProblem if there is none.
 * @returns {Promise<Server>}
 */
async function readServer() {
  const { address = '', token = '' } = await chrome.storage.local.get(['address', 'token']);
  if (!address) throw new UserProblem('problem_no_server');
  return { address, token };
}

/**
 * Send a request with the token, and return the answer. No cookie is sent. Throws UserProblem for
 * a server that does not answer, and for one that refuses.
 * @param {Server} server
 * @param {string} path
 * @param {RequestInit} [options]
 */
async function send({ address, token }, path, options = {}) {
  if (!(await chrome.permissions.contains({ origins: [getPattern(address)] }))) {
    throw new UserProblem('problem_no_permission', address);
  }
  const headers = { ...options.headers, Authorization: `Bearer ${token}` };
  let response;
  try {
    response = await fetch(address + path, { ...options, headers, credentials: 'omit' });
  } catch {
    throw new UserProblem('problem_no_answer', address);
  }
  if (response.ok) return response;
  const { code = '', detail = '' } = await response.json().catch(() => ({}));
  if (response.status === 401 || code === 'not_allowed') throw new UserProblem('problem_token');
  if (code === 'role_missing') throw new UserProblem('problem_role');
  throw new UserProblem('problem_refused', detail || String(response.status));
}
