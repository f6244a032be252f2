import assert from 'node:assert/strict';
import { test } from 'node:test';

import { joined, Transcripts } from '../../../app/web/client/transcripts.js';

test('words that come again are joined once', () => {
  assert.equal(joined('', 'Hello'), 'Hello');
  assert.equal(joined('It is nineteen euros', 'nineteen euros a month'), 'It is nineteen euros a month');
  assert.equal(joined('It is nineteen euros', 'nineteen'), 'It is nineteen euros');
  assert.equal(joined('It is', ' nineteen'), 'It is nineteen');
});

test('without a lost connection, words that repeat are kept', () => {
  const transcripts = new Transcripts();
  const deltas = ['No, ', 'no, ', 'no, ', 'no.'];
  const shown = deltas.map((text) => transcripts.receive({ type: 'agent_transcript_delta', response_id: 'r1', text }, 'r1'));
  assert.equal(shown.at(-1).text, 'No, no, no, no.');
});

test('a final text is told once, and its captions no longer', () => {
  const transcripts = new Transcripts();
  const final = { type: 'agent_transcript', response_id: 'r1', text: 'Yes.' };
  assert.equal(transcripts.receive(final, '').text, 'Yes.');
  assert.equal(transcripts.receive(final, ''), null);
  assert.equal(transcripts.receive({ type: 'agent_transcript_delta', response_id: 'r1', text: 'Yes.' }, ''), null);
});

test('turns and responses without an id are all told', () => {
  const transcripts = new Transcripts();
  const final = { type: 'user_transcript', text: 'Yes.' };
  assert.ok(transcripts.receive(final, ''));
  assert.ok(transcripts.receive(final, ''));
});
