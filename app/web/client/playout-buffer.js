/**
 * What the agent said and the caller has not heard yet: a jitter buffer of responses, in order.
 *
 * PCM16 at 24 kHz goes in as it arrives; samples at the device's rate come out when the audio thread asks.
 * It never jumps: whatever stops the sound (a flush, a hold, a network that is late) ends in a 10 ms fade.
 * It counts what it gave out, so what a caller has heard of a response is known exactly. Pure: runs inside
 * the playout worklet and, in tests, without one.
 */

import { SAMPLE_RATE_HZ } from './framer.js';
import { Resampler } from './resampler.js';

const FADE_MS = 10;
// How much must have arrived before a response starts to sound. It grows when the network was late, so
// that one gap is not followed by many, and shrinks with each response that came through whole.
const MIN_DELAY_MS = 40;
const MAX_DELAY_MS = 400;
const DELAY_STEP_MS = 10;
// The gateway keeps about a second ahead; a response that is longer than this is cut here.
const MAX_RESPONSE_SAMPLES = 600 * SAMPLE_RATE_HZ;
const DECODE_SAMPLES = 128;

/**
 * @typedef {{type: 'started', id: string}
 *   | {type: 'finished', id: string, playedMs: number}
 *   | {type: 'cleared', id: string, playedMs: number}
 *   | {type: 'underrun', id: string}} PlayoutEvent
 */

/**
 * What the playout worklet is told, a method of the buffer each.
 *
 * @typedef {{type: 'push', id: string, pcm: ArrayBuffer}
 *   | {type: 'end' | 'clear' | 'hold' | 'resume', id: string}
 *   | {type: 'holdAll' | 'rewind'}} PlayoutCommand
 */

/** One response: what has arrived of it and how much of that has been played. */
class Response {
  /** @param {string} id @param {number} outputRateHz @param {number} [playedBeforeMs] counts as played of it */
  constructor(id, outputRateHz, playedBeforeMs = 0) {
    this.id = id;
    this.outputRateHz = outputRateHz;
    this.playedBeforeMs = playedBeforeMs;
    this.resampler = new Resampler(SAMPLE_RATE_HZ, outputRateHz);
  }

  /** @type {Int16Array[]} */ pieces = [];
  receivedSamples = 0;
  playedFrames = 0;
  ended = false;
  held = false;
  clearing = false;
  started = false;
  sounding = false; // false while it waits for enough to start with
  #samples = new Float32Array(DECODE_SAMPLES);
  #decoded = new Float32Array(0); // device-rate samples that were made but not given out yet
  #decodedStart = 0;
  #decodedEnd = 0;

  /** Device-rate samples that can be given out now. */
  get availableFrames() {
    const { up, down, lookahead } = this.resampler;
    const usable = this.ended ? this.receivedSamples : this.receivedSamples - lookahead;
    return Math.max(0, Math.ceil((usable * up) / down)) - this.playedFrames;
  }

  /** What the caller has heard, in whole milliseconds; never more than what was received. */
  get playedMs() {
    const played = (this.playedFrames / this.outputRateHz) * 1000;
    const received = (this.receivedSamples / SAMPLE_RATE_HZ) * 1000;
    return this.playedBeforeMs + Math.floor(Math.min(played, received) + 1e-6);
  }

  /** @param {Float32Array} output is filled whole; the caller has checked `availableFrames` */
  read(output) {
    let filled = 0;
    while (filled < output.length) {
      if (this.#decodedStart === this.#decodedEnd) this.#decodeNext();
      const count = Math.min(output.length - filled, this.#decodedEnd - this.#decodedStart);
      output.set(this.#decoded.subarray(this.#decodedStart, this.#decodedStart + count), filled);
      this.#decodedStart += count;
      filled += count;
    }
    this.playedFrames += filled;
  }

  /** Converts a little at a time: a long piece at once would hold up the audio thread. */
  #decodeNext() {
    const piece = this.pieces.shift() ?? new Int16Array(DECODE_SAMPLES); // silence draws out the filter's tail
    const input = this.#samples.subarray(0, Math.min(DECODE_SAMPLES, piece.length));
    for (let i = 0; i < input.length; i++) input[i] = piece[i] / 32768;
    if (input.length < piece.length) this.pieces.unshift(piece.subarray(input.length));
    const room = this.resampler.maxOutput(input.length);
    if (room > this.#decoded.length) this.#decoded = new Float32Array(room);
    this.#decodedStart = 0;
    this.#decodedEnd = this.resampler.process(input, this.#decoded);
  }
}

export class PlayoutBuffer {
  /** @param {number} outputRateHz @param {(event: PlayoutEvent) => void} emit */
  constructor(outputRateHz, emit) {
    this.#outputRateHz = outputRateHz;
    this.#fadeFrames = Math.round((FADE_MS / 1000) * outputRateHz);
    this.#emit = emit;
  }

  #outputRateHz;
  #fadeFrames;
  #emit;
  /** @type {Response[]} */ #responses = [];
  #fade = 0; // 0 is silence, #fadeFrames is full volume
  #delayMs = MIN_DELAY_MS;

  /** @param {string} id @param {Int16Array} pcm the next samples of this response, at 24 kHz */
  push(id, pcm) {
    let response = this.#find(id);
    if (!response) {
      const last = this.#responses.at(-1);
      if (last) last.ended = true; // audio comes in order: the next response's means that this one is whole
      response = new Response(id, this.#outputRateHz);
      this.#responses.push(response);
    }
    if (response.clearing || response.receivedSamples + pcm.length > MAX_RESPONSE_SAMPLES) return;
    response.pieces.push(pcm);
    response.receivedSamples += pcm.length;
  }

  /** All of this response has arrived. @param {string} id */
  end(id) {
    const response = this.#find(id);
    if (response) response.ended = true;
    else this.#emit({ type: 'finished', id, playedMs: 0 }); // it had no audio
  }

  /** Drops this response: what sounds fades out, the rest is never played. @param {string} id */
  clear(id) {
    const response = this.#find(id);
    if (response && response === this.#responses[0] && this.#fade > 0) response.clearing = true;
    else {
      this.#responses = this.#responses.filter((other) => other !== response);
      this.#emit({ type: 'cleared', id, playedMs: response?.playedMs ?? 0 });
    }
  }

  /** Fades out and keeps what is buffered, until `resume` or `clear`. @param {string} id */
  hold(id) {
    const response = this.#find(id);
    if (response) response.held = true;
  }

  /** @param {string} id */
  resume(id) {
    const response = this.#find(id);
    if (response) response.held = false;
  }

  /** Fades out whatever sounds, and keeps it: the connection is lost. */
  holdAll() {
    for (const response of this.#responses) response.held = true;
  }

  /** Drops what was not played, since it comes again, and keeps the account of what was. */
  rewind() {
    this.#fade = 0;
    this.#responses = this.#responses
      .filter((response) => response.started && !response.clearing)
      .map(({ id, outputRateHz, playedMs }) => new Response(id, outputRateHz, playedMs));
    for (const response of this.#responses) response.started = true;
  }

  /** Writes the next samples, silence where there are none. @param {Float32Array} output */
  render(output) {
    let filled = 0;
    while (filled < output.length) {
      const response = this.#responses[0];
      const count = response ? this.#playable(response, output.length - filled) : 0;
      if (!count) break;
      const part = output.subarray(filled, filled + count);
      response.read(part);
      this.#applyFade(response, part);
      filled += count;
      this.#settle(response);
    }
    output.fill(0, filled);
  }

  /** @param {Response} response @param {number} wanted @returns {number} frames to take from it now */
  #playable(response, wanted) {
    const available = response.availableFrames;
    const silencing = response.held || response.clearing;
    if (silencing) return Math.min(wanted, available, this.#fade);
    if (!response.sounding) {
      const delayFrames = (this.#delayMs / 1000) * this.#outputRateHz;
      if (!response.ended && available < delayFrames) return 0;
      response.sounding = true;
    }
    if (available === 0) this.#settle(response);
    if (available > 0 && !response.started) {
      response.started = true;
      this.#emit({ type: 'started', id: response.id });
    }
    return Math.min(wanted, available);
  }

  /** @param {Response} response @param {Float32Array} part what was just read from it */
  #applyFade(response, part) {
    const silencing = response.held || response.clearing;
    const left = response.availableFrames + part.length;
    for (let i = 0; i < part.length; i++) {
      const runningDry = left - i <= this.#fadeFrames;
      this.#fade += silencing || runningDry ? -1 : 1;
      this.#fade = Math.max(0, Math.min(this.#fadeFrames, this.#fade));
      part[i] *= this.#fade / this.#fadeFrames;
    }
  }

  /** Says what has become of the response after some of it was played. @param {Response} response */
  #settle(response) {
    if (response.clearing && (this.#fade === 0 || response.availableFrames === 0)) {
      this.#drop('cleared');
    } else if (response.availableFrames === 0 && response.ended) {
      this.#delayMs = Math.max(MIN_DELAY_MS, this.#delayMs - DELAY_STEP_MS);
      this.#drop('finished');
    } else if (response.availableFrames === 0 && response.sounding) {
      response.sounding = false;
      this.#delayMs = Math.min(MAX_DELAY_MS, this.#delayMs * 2);
      this.#emit({ type: 'underrun', id: response.id });
    }
  }

  /** @param {'cleared' | 'finished'} type */
  #drop(type) {
    const [response] = this.#responses.splice(0, 1);
    this.#fade = 0;
    this.#emit({ type, id: response.id, playedMs: response.playedMs });
  }

  /** @param {string} id */
  #find(id) {
    return this.#responses.find((response) => response.id === id);
  }
}
