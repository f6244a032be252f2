import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Framer } from '../../../app/web/client/framer.js';
import { signalToNoiseDb, sine } from './signals.js';

function framesOf(samples, rateHz) {
  const frames = [];
  const framer = new Framer(rateHz, (frame) => frames.push(frame));
  for (let start = 0; start < samples.length; start += 128) framer.push(samples.subarray(start, start + 128));
  return frames;
}

for (const rateHz of [16000, 44100, 48000]) {
  test(`a second of ${rateHz} Hz makes 20 ms frames of PCM16 at 24 kHz`, () => {
    const frames = framesOf(sine(440, rateHz, rateHz), rateHz);
    assert.equal(frames.length, 49); // the last one waits for what the filter still needs
    assert.ok(frames.every(({ pcm }) => pcm.byteLength === 960));
    const samples = frames.flatMap(({ pcm }) => [...new Int16Array(pcm)]).map((sample) => sample / 32767);
    const snr = signalToNoiseDb(samples.slice(480), sine(440, 24000, samples.length).slice(480));
    assert.ok(snr >= 60, `${snr.toFixed(1)} dB`);
  });
}

test('each frame tells how loud it is', () => {
  const [, loud] = framesOf(sine(1000, 48000, 48000, 0.5), 48000);
  assert.ok(Math.abs(loud.level - 0.5 / Math.SQRT2) < 0.01);
  assert.equal(framesOf(new Float32Array(48000), 48000)[1].level, 0);
});

test('a microphone that is too loud is cut off at full scale, not wrapped around', () => {
  const [, frame] = framesOf(new Float32Array(48000).fill(3), 48000);
  assert.ok(new Int16Array(frame.pcm).every((sample) => sample === 32767));
});
