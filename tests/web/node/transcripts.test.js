import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Transcripts } from '../../../app/web/client/transcripts.js';

const delta = (text, index) => ({ type: 'agent_transcript_delta', response_id: 'r1', text, index });

test('captions that come again are passed over, whatever their words', () => {
  const transcripts = new Transcripts();
  const told = [['No, ', 0], ['no, ', 1], ['no, ', 1], ['no, ', 2], ['No, ', 0], ['no.', 3]].map(
    ([text, index]) => transcripts.receive(delta(text, index), 'r1')?.text,
  );
  assert.deepEqual(told, ['No, ', 'No, no, ', undefined, 'No, no, no, ', undefined, 'No, no, no, no.']);
});

test('each response counts its captions from 0', () => {
  const transcripts = new Transcripts();
  transcripts.receive(delta('One.', 0), 'r1');
  assert.equal(transcripts.receive({ ...delta('Two.', 0), response_id: 'r2' }, 'r2').text, 'Two.');
});

test('captions of a gateway that does not count them are all told', () => {
  const transcripts = new Transcripts();
  const deltas = ['No, ', 'no, ', 'no, ', 'no.'];
  const shown = deltas.map((text) => transcripts.receive(delta(text), 'r1'));
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
