import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SHORTCUTS, isHelpKey } from '../../search/web/keyboard.js';
import { parseFileAddress } from '../../search/web/paths.js';
import { DEFAULTS, chooseLanguages, readPreferences, writePreferences } from '../../search/web/preferences.js';
import { EN } from '../../search/web/texts.js';

function createStorage(text = null) {
  return {
    text,
    getItem() {
      return this.text;
    },
    setItem(key, value) {
      this.text = value;
    },
  };
}

test('preferences are kept beside those that are kept', () => {
  const storage = createStorage();
  assert.deepEqual(readPreferences(storage), DEFAULTS);
  writePreferences(storage, { theme: 'dark' });
  writePreferences(storage, { minScore: 0.5 });
  assert.deepEqual(readPreferences(storage), { ...DEFAULTS, theme: 'dark', minScore: 0.5 });
});

test('what is not known counts as not set', () => {
  for (const text of ['no JSON', 'null', '7', '{"labels": "x"}', '{"model": 5}', '{"theme": "pink", "language": ["zh"], "minScore": "0.5"}']) {
    assert.deepEqual(readPreferences(createStorage(text)), DEFAULTS, text);
  }
});

test('a browser that keeps nothing has the defaults', () => {
  const refusing = {
    getItem() {
      throw new Error('denied');
    },
    setItem() {
      throw new Error('full');
    },
  };
  assert.deepEqual(readPreferences(undefined), DEFAULTS);
  assert.deepEqual(writePreferences(refusing, { theme: 'light' }), { ...DEFAULTS, theme: 'light' });
});

test('a language that was chosen comes before those of the browser', () => {
  assert.deepEqual(chooseLanguages('auto', ['zh', 'en']), ['zh', 'en']);
  assert.deepEqual(chooseLanguages('en', ['zh', 'en']), ['en']);
});

test('the help has a text for each key, and a key of its own', () => {
  for (const { keys, text } of SHORTCUTS) assert.ok(keys.length && EN[text], text);
  assert.ok(isHelpKey({ key: '?' }) && !isHelpKey({ key: '?', ctrlKey: true }) && !isHelpKey({ key: 'h' }));
});

test('the path of a dropped folder, where the browser tells it', () => {
  assert.equal(parseFileAddress('file:///home/ada/My%20Pictures/'), '/home/ada/My Pictures');
  assert.equal(parseFileAddress('# a comment\r\nfile:///photos\r\nfile:///others'), '/photos');
  assert.equal(parseFileAddress('file:///C:/Users/ada/Pictures'), 'C:/Users/ada/Pictures');
  assert.equal(parseFileAddress('file:///'), '/');
  for (const text of ['', 'https://a.example/b', 'file:///%ff']) assert.equal(parseFileAddress(text), null);
});
