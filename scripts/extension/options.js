// The options page: the address and the token of the server, which are tried before they are stored.

/**
 * Return an element of the page.
 * @param {string} id
 * @returns {HTMLInputElement}
 */
function getElement(id) {
  return /** @type {HTMLInputElement} */ (document.getElementById(id));
}

/**
 * Say how it went.
 * @param {string} text
 * @param {boolean} [isWrong]
 */
function tell(text, isWrong = false) {
  getElement('result').textContent = text;
  getElement('result').classList.toggle('is-wrong', isWrong);
}

/** Ask for the right to reach the server, try it, and store it. */
async function save() {
  try {
    const address = parseAddress(getElement('address').value);
    // before anything else is awaited: the browser asks only right after a click
    const isAllowed = await chrome.permissions.request({ origins: [getPattern(address)] });
    if (!isAllowed) throw new UserProblem('problem_no_permission', address);
    const server = { address, token: getElement('token').value.trim() };
    const { role } = await (await send(server, '/api/v1/login')).json();
    await chrome.storage.local.set(server);
    getElement('address').value = address;
    tell(chrome.i18n.getMessage(role === 'read' ? 'saved_read' : 'saved'));
  } catch (error) {
    tell(error instanceof Error ? error.message : String(error), true);
  }
}

document.documentElement.lang = chrome.i18n.getUILanguage();
for (const element of document.querySelectorAll('[data-text]')) {
  element.textContent = chrome.i18n.getMessage(element.getAttribute('data-text') ?? '');
}
chrome.storage.local.get(['address', 'token']).then(({ address = '', token = '' }) => {
  getElement('address').value = address;
  getElement('token').value = token;
});
getElement('form').addEventListener('submit', (event) => {
  event.preventDefault();
  save();
});
