/**
 * Microphone samples of any rate → frames as the gateway takes them: 20 ms of PCM16, 24 kHz, mono.
 *
 * Pure: runs inside the capture worklet and, in tests, without one.
 */

import { Resampler } from './resampler.js';

export const SAMPLE_RATE_HZ = 24000;
export const FRAME_SAMPLES = 480; // 20 ms

/**
 * @typedef {object} Frame
 * @property {ArrayBuffer} pcm 960 bytes, little-endian (the byte order of every platform with a browser)
 * @property {number} level root mean square, 0 to 1
 */

export class Framer {
  /** @param {number} inputRateHz @param {(frame: Frame) => void} emit receives each frame as it fills */
  constructor(inputRateHz, emit) {
    this.#resampler = new Resampler(inputRateHz, SAMPLE_RATE_HZ);
    this.#emit = emit;
  }

  #resampler;
  #emit;
  #resampled = new Float32Array(0);
  #frame = new Int16Array(FRAME_SAMPLES);
  #filled = 0;
  #energy = 0;

  /** @param {Float32Array} samples the next samples of the microphone, -1 to 1 */
  push(samples) {
    const room = this.#resampler.maxOutput(samples.length);
    if (room > this.#resampled.length) this.#resampled = new Float32Array(room);
    const count = this.#resampler.process(samples, this.#resampled);
    for (let i = 0; i < count; i++) {
      const sample = Math.max(-1, Math.min(1, this.#resampled[i]));
      this.#energy += sample * sample;
      this.#frame[this.#filled++] = Math.round(sample * 32767);
      if (this.#filled === FRAME_SAMPLES) this.#complete();
    }
  }

  #complete() {
    this.#emit({ pcm: this.#frame.buffer, level: Math.sqrt(this.#energy / FRAME_SAMPLES) });
    this.#frame = new Int16Array(FRAME_SAMPLES); // the old one now belongs to its receiver
    this.#filled = 0;
    this.#energy = 0;
  }
}
