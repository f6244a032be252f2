import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Resampler } from '../../../app/web/client/resampler.js';
import { randomNumbers, signalToNoiseDb, sine } from './signals.js';

const DEVICE_RATES_HZ = [8000, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000];

/** Resamples `input` in pieces whose lengths `lengths` gives. */
function resample(input, fromHz, toHz, lengths) {
  const resampler = new Resampler(fromHz, toHz);
  const result = [];
  for (let start = 0; start < input.length; ) {
    const piece = input.subarray(start, start + lengths());
    const output = new Float32Array(resampler.maxOutput(piece.length));
    result.push(...output.subarray(0, resampler.process(piece, output)));
    start += piece.length;
  }
  return Float32Array.from(result);
}

const quanta = () => 128;

for (const deviceHz of DEVICE_RATES_HZ) {
  for (const [fromHz, toHz] of [[deviceHz, 24000], [24000, deviceHz]]) {
    test(`a sine stays the same sine, in time and height: ${fromHz} to ${toHz} Hz`, () => {
      const highest = 0.4 * Math.min(fromHz, toHz);
      for (const frequencyHz of [97, 440, 1013, 3001, 7907].filter((hz) => hz < highest)) {
        const output = resample(sine(frequencyHz, fromHz, fromHz / 2), fromHz, toHz, quanta);
        const wanted = sine(frequencyHz, toHz, output.length);
        const edge = Math.round(toHz / 100); // where the sine begins out of nothing
        const snr = signalToNoiseDb(output.subarray(edge), wanted.subarray(edge));
        assert.ok(snr >= 60, `${frequencyHz} Hz: ${snr.toFixed(1)} dB`);
      }
    });

    test(`pieces of any length make the same samples: ${fromHz} to ${toHz} Hz`, () => {
      const input = sine(440, fromHz, fromHz / 10);
      const random = randomNumbers(1);
      const odd = resample(input, fromHz, toHz, () => 1 + Math.floor(400 * random.next().value));
      assert.deepEqual(odd, resample(input, fromHz, toHz, quanta));
    });

    test(`what comes out lasts as long as what went in: ${fromHz} to ${toHz} Hz`, () => {
      const resampler = new Resampler(fromHz, toHz);
      const input = new Float32Array(fromHz / 4 + resampler.lookahead);
      const output = new Float32Array(resampler.maxOutput(input.length));
      assert.equal(resampler.process(input, output), Math.ceil(toHz / 4));
    });
  }
}

test('what 24 kHz cannot carry is taken away, not folded down', () => {
  const output = resample(sine(15000, 48000, 24000), 48000, 24000, quanta);
  const loudest = Math.max(...output.subarray(240).map(Math.abs));
  assert.ok(20 * Math.log10(loudest / 0.5) < -60, `${loudest}`);
});
