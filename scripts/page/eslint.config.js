// Rules of the page's code. tsc finds undefined names.

import js from '@eslint/js';

const KEYS = '/^(Arrow(Left|Right|Up|Down)|Enter|Escape|Home|End|PageUp|PageDown|Tab|Delete|Backspace)$/';
const SENTENCE = '/[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}|[\\u4e00-\\u9fff]/';
const SHOWN = ['textContent', 'innerText', 'title', 'alt', 'placeholder', 'ariaLabel'];

const noState = [
  {
    selector: 'Program > VariableDeclaration[kind!="const"], Program > ExportNamedDeclaration > VariableDeclaration[kind!="const"]',
    message: 'A module holds no state: use store.js, or a class that app.js creates.',
  },
  {
    selector: ':matches(Program, ExportNamedDeclaration) > VariableDeclaration > VariableDeclarator > :matches(NewExpression[callee.name=/^(Map|Set|WeakMap)$/], ArrayExpression, ObjectExpression)',
    message: 'A module holds no state: freeze a constant, or use store.js.',
  },
];
const noKeys = { selector: `Literal[value=${KEYS}]`, message: 'keyboard.js alone knows keys.' };
const noTexts = [
  {
    selector: `AssignmentExpression[left.property.name=/^(${SHOWN.join('|')})$/] > Literal.right[value=${SENTENCE}]`,
    message: 'texts.js alone has texts.',
  },
  { selector: `Property[key.name=/^(text|title|alt|placeholder)$/] > Literal.value[value=${SENTENCE}]`, message: 'texts.js alone has texts.' },
  { selector: ':matches(Literal[value=/[\\u4e00-\\u9fff]/], TemplateElement[value.raw=/[\\u4e00-\\u9fff]/])', message: 'texts.js alone has texts.' },
];

export default [
  js.configs.recommended,
  {
    rules: {
      'no-undef': 'off',
      'no-var': 'error',
      'prefer-const': 'error',
      eqeqeq: 'error',
      'no-shadow': 'error',
      'no-param-reassign': 'error',
      'no-implicit-coercion': 'error',
      'object-shorthand': 'error',
      'max-len': ['error', { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }],
    },
  },
  {
    files: ['search/web/*.js'],
    rules: { 'no-restricted-syntax': ['error', ...noState, noKeys, ...noTexts] },
  },
  {
    files: ['search/web/keyboard.js'],
    rules: { 'no-restricted-syntax': ['error', ...noState, ...noTexts] },
  },
  {
    files: ['search/web/texts*.js'],
    rules: { 'no-restricted-syntax': ['error', ...noState, noKeys], 'max-len': 'off' },
  },
  {
    files: ['scripts/extension/*.js'], // classic scripts, which share their functions
    languageOptions: { sourceType: 'script' },
    rules: { 'no-unused-vars': ['error', { vars: 'local' }] },
  },
];
