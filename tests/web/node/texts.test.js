import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CLIENT_CODES, GATEWAY_CODES } from '../../../app/web/client/failures.js';
import { unheardPart } from '../../../app/web/conversation.js';
import { texts as english } from '../../../app/web/texts/en.js';
import { texts as spanish } from '../../../app/web/texts/es.js';
import { chooseLanguage } from '../../../app/web/texts.js';

const blanks = (text) => (text.match(/\{\w+\}/g) ?? []).sort();

test('every language has every text, with the same blanks to fill in', () => {
  assert.deepEqual(Object.keys(spanish), Object.keys(english));
  for (const key of Object.keys(english)) assert.deepEqual(blanks(spanish[key]), blanks(english[key]), key);
});

test('every failure has a title and a sentence', () => {
  for (const code of [...GATEWAY_CODES, ...CLIENT_CODES]) {
    assert.ok(english[`failure.${code}.title`], code);
    assert.ok(english[`failure.${code}.text`], code);
  }
});

test('the language is the first that the visitor prefers and the page speaks', () => {
  assert.equal(chooseLanguage(['fr-FR', 'es-MX', 'en']), 'es');
  assert.equal(chooseLanguage(['fr-FR']), 'en');
});

test('what was not heard is the rest of what was to be said', () => {
  const whole = 'It costs nineteen euros. Shall I go on?';
  assert.equal(unheardPart(whole, 'It costs nineteen'), ' euros. Shall I go on?');
  assert.equal(unheardPart(whole, ''), whole);
  assert.equal(unheardPart(whole, whole), '');
  // Words from time stamps lose their punctuation and case.
  assert.equal(unheardPart(whole, 'it costs nineteen euros'), 'Shall I go on?');
  assert.equal(unheardPart('short', 'much longer than that'), '');
});
