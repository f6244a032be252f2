/** Sines and how to find them again. */

/** @returns {Float32Array} `count` samples of a sine that begins at 0 */
export function sine(frequencyHz, rateHz, count, level = 0.5) {
  return Float32Array.from({ length: count }, (_, i) => level * Math.sin((2 * Math.PI * frequencyHz * i) / rateHz));
}

/** @returns {Int16Array} the same as PCM16 */
export const pcm16 = (samples) => Int16Array.from(samples, (sample) => Math.round(sample * 32767));

/** How far `wanted` stands above what `got` differs from it, in decibels. */
export function signalToNoiseDb(got, wanted) {
  let signal = 0;
  let noise = 0;
  for (let i = 0; i < got.length; i++) {
    signal += wanted[i] ** 2;
    noise += (got[i] - wanted[i]) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

/** The largest jump between two neighbouring samples, starting from silence. */
export function largestStep(samples) {
  let largest = Math.abs(samples[0] ?? 0);
  for (let i = 1; i < samples.length; i++) largest = Math.max(largest, Math.abs(samples[i] - samples[i - 1]));
  return largest;
}

/** Numbers that look random and are the same every time, 0 to 1. */
export function* randomNumbers(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}
