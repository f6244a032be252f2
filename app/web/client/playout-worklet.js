/**
 * The audio thread's end of the loudspeaker.
 *
 * Takes `PlayoutCommand`s; posts every `PlayoutEvent` of the buffer with the time of the context at which
 * it happened, and how loud it is now about 25 times a second.
 */

import { PlayoutBuffer } from './playout-buffer.js';

/** @typedef {import('./playout-buffer.js').PlayoutCommand} PlayoutCommand */

const LEVEL_INTERVAL_S = 0.04;

class PlayoutProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.port.onmessage = (/** @type {MessageEvent<PlayoutCommand>} */ { data }) => {
      if (data.type === 'push') this.#buffer.push(data.id, new Int16Array(data.pcm));
      else if ('id' in data) this.#buffer[data.type](data.id);
      else this.#buffer[data.type]();
    };
  }

  #buffer = new PlayoutBuffer(sampleRate, (event) => this.port.postMessage({ ...event, at: currentTime }));
  #energy = 0;
  #frames = 0;

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs @returns {boolean} */
  process(_inputs, [channels]) {
    const [first, ...others] = channels;
    this.#buffer.render(first);
    for (const channel of others) channel.set(first);
    this.#measure(first);
    return true;
  }

  /** @param {Float32Array} samples */
  #measure(samples) {
    for (const sample of samples) this.#energy += sample * sample;
    this.#frames += samples.length;
    if (this.#frames < LEVEL_INTERVAL_S * sampleRate) return;
    this.port.postMessage({ type: 'level', level: Math.sqrt(this.#energy / this.#frames) });
    this.#energy = 0;
    this.#frames = 0;
  }
}

registerProcessor('voice-live-playout', PlayoutProcessor);
