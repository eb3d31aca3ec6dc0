// Saying how the words of a query were read.

/** @import { Answer } from './api.js' */
/** @import { Translate } from './i18n.js' */

/**
 * Describe how the texts of a query were read, and which picture of a web page was taken. Empty if
 * all of it is known and seen.
 * @param {Pick<Answer, 'understood' | 'low_content' | 'pages'>} answer
 * @param {Translate} translate
 */
export function describeReading({ understood, low_content: isBlank, pages }, translate) {
  const lines = pages.map(({ page, picture }) =>
    translate(picture ? 'page_picture' : 'page_picture_inside', { page, picture: picture ?? '' }),
  );
  for (const reading of understood) {
    if (![...reading.names, ...reading.labels, ...reading.unknown].length) {
      if (reading.advice_code) lines.push(translate(reading.advice_code, { list: reading.words.join(', ') }));
      continue;
    }
    const parts = /** @type {const} */ ([
      ['understood_words', reading.words],
      ['understood_names', reading.names],
      ['understood_labels', reading.labels],
      ['understood_unknown', reading.unknown],
      ['understood_suggestions', reading.suggestions],
    ]);
    for (const [key, list] of parts) if (list.length) lines.push(translate(key, { list: list.join(', ') }));
    if (reading.advice_code) lines.push(translate(reading.advice_code));
  }
  if (isBlank) lines.push(translate('blank_query'));
  return lines.join(' ');
}
