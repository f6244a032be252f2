/**
 * Sample rate conversion of a stream, without clicks between its pieces.
 *
 * A polyphase FIR filter (windowed sinc, Kaiser): one short filter for each of the positions that an
 * output sample can have between two input samples. Pure: no audio API, no clock.
 */

// Zero crossings of the sinc to each side of its middle, and the Kaiser window's shape. Together about
// 80 dB of attenuation; speech up to 0.42 of the lower rate (10 kHz at 24 kHz) passes unchanged.
const ZERO_CROSSINGS = 32;
const KAISER_BETA = 8;
const CUTOFF = 0.92;

/** @param {number} a @param {number} b @returns {number} the greatest common divisor */
const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/** @param {number} x @returns {number} the modified Bessel function I0, which shapes a Kaiser window */
function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-10 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

export class Resampler {
  /**
   * @param {number} inputRateHz whole number of samples per second that come in
   * @param {number} outputRateHz whole number of samples per second that go out
   */
  constructor(inputRateHz, outputRateHz) {
    const divisor = gcd(inputRateHz, outputRateHz);
    /** @readonly */ this.up = outputRateHz / divisor;
    /** @readonly */ this.down = inputRateHz / divisor;
    const bandwidth = Math.min(1, this.up / this.down);
    /** Input samples that an output sample needs after its own position. @readonly */
    this.lookahead = Math.ceil(ZERO_CROSSINGS / bandwidth);
    this.#taps = 2 * this.lookahead;
    this.#filters = designFilters(this.up, this.lookahead, bandwidth * CUTOFF);
    this.#pending = new Float32Array(4 * this.#taps);
    this.#length = this.lookahead - 1; // silence before the first sample, so that output 0 is input 0
  }

  #taps;
  #filters;
  #pending; // input that outputs still need; the next output's first tap is at #start
  #start = 0;
  #length;
  #phase = 0;

  /** @param {number} inputLength @returns {number} how many samples `process` can write at most for it */
  maxOutput(inputLength) {
    return Math.ceil(((inputLength + this.#taps) * this.up) / this.down) + 1;
  }

  /**
   * Takes the next piece of input and writes every output sample that it completes.
   *
   * @param {Float32Array} input any length
   * @param {Float32Array} output at least `maxOutput(input.length)` long
   * @returns {number} samples written
   */
  process(input, output) {
    this.#append(input);
    let written = 0;
    while (this.#start + this.#taps <= this.#length) {
      const filter = this.#phase * this.#taps;
      let sum = 0;
      for (let tap = 0; tap < this.#taps; tap++) {
        sum += this.#pending[this.#start + tap] * this.#filters[filter + tap];
      }
      output[written++] = sum;
      this.#phase += this.down;
      this.#start += Math.floor(this.#phase / this.up);
      this.#phase %= this.up;
    }
    return written;
  }

  /** @param {Float32Array} input */
  #append(input) {
    // A steep reduction can step past what has arrived: then the start lies beyond the length.
    const kept = Math.max(0, this.#length - this.#start);
    const skipped = Math.max(0, this.#start - this.#length);
    const needed = skipped + kept + input.length;
    const from = this.#pending;
    if (needed > from.length) this.#pending = new Float32Array(2 * needed);
    this.#pending.set(from.subarray(this.#length - kept, this.#length));
    this.#pending.set(input, kept);
    this.#start = skipped;
    this.#length = kept + input.length;
  }
}

/**
 * @param {number} up filters, one per position between two input samples
 * @param {number} half taps to each side
 * @param {number} cutoff as a part of the input's half rate
 * @returns {Float32Array} `up` filters of `2 * half` taps, each of sum 1
 */
function designFilters(up, half, cutoff) {
  const taps = 2 * half;
  const filters = new Float32Array(up * taps);
  const edge = bessel(KAISER_BETA);
  for (let phase = 0; phase < up; phase++) {
    const filter = filters.subarray(phase * taps, (phase + 1) * taps);
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      const distance = tap - half + 1 - phase / up;
      const x = Math.PI * cutoff * distance;
      const window = bessel(KAISER_BETA * Math.sqrt(Math.max(0, 1 - (distance / half) ** 2))) / edge;
      filter[tap] = (x === 0 ? 1 : Math.sin(x) / x) * window;
      sum += filter[tap];
    }
    for (let tap = 0; tap < taps; tap++) filter[tap] /= sum;
  }
  return filters;
}
