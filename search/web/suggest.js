// Words that can be searched for: completed in the box while typing, and listed on the start page.

import * as api from './api.js';
import { byId, node } from './node.js';
import { say } from './words.js';

const WAIT = 120; // milliseconds after the last key
const ALL = 10000;

/** enter(text): search for a word. */
export function suggest(enter) {
  const box = byId('words');
  let timer = null;
  let asking = null;
  box.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      asking?.abort();
      asking = new AbortController();
      try {
        await complete(box.value, asking.signal);
      } catch {
        // a list that does not come is no reason to disturb
      }
    }, WAIT);
  });
  const part = byId('vocabulary');
  part.addEventListener('toggle', () => {
    if (part.open) list(enter);
  });
}

/** Offer the words that begin with what is typed last. */
async function complete(text, signal) {
  const [, before, last] = /^(.*?)(\S*)$/s.exec(text);
  const options = last ? await ask(last, 12, signal) : [];
  byId('known-words').replaceChildren(
    ...options.map((word) => node('option', { value: before + fitting(word, last) })),
  );
}

/** The name of a word that begins with what is typed: the main one, or another. */
function fitting({ word, also }, typed) {
  const start = typed.toLowerCase();
  return [word, ...also].find((name) => name.toLowerCase().startsWith(start)) ?? word;
}

async function ask(prefix, limit, signal) {
  try {
    return (await api.words(prefix, limit, signal)).words;
  } catch {
    return [];
  }
}

/** All words, each a button. */
async function list(enter) {
  const place = byId('vocabulary-words');
  if (place.childElementCount) return;
  try {
    const { words, any_words: any, model } = await api.words('', ALL);
    if (any) place.replaceChildren(node('li', { text: say('words_any', { name: model }) }));
    else {
      place.replaceChildren(
        ...words.map(({ word, also }) => {
          const button = node('button', { type: 'button', text: word, click: () => enter(word) });
          button.title = also.join(', ');
          return node('li', {}, button);
        }),
      );
    }
  } catch (error) {
    place.replaceChildren(node('li', { text: error.detail || say('problem') }));
  }
}

/** How the texts of a query were read, as one line: where a part of one is not known, or is in no
 * picture; else ''. */
export function reading({ understood, low_content: blank }) {
  const lines = [];
  for (const one of understood) {
    if (!one.names.length && !one.unknown.length) {
      if (one.advice_code) lines.push(say(one.advice_code, { list: one.words.join(', ') }));
      continue;
    }
    const parts = [
      ['understood_words', one.words],
      ['understood_names', one.names],
      ['understood_unknown', one.unknown],
      ['understood_suggestions', one.suggestions],
    ];
    for (const [key, list] of parts) if (list.length) lines.push(say(key, { list: list.join(', ') }));
    if (one.advice_code) lines.push(say(one.advice_code));
  }
  if (blank) lines.push(say('blank_query'));
  return lines.join(' ');
}
