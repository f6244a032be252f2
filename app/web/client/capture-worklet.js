/** The audio thread's end of the microphone: posts a `Frame` every 20 ms. */

import { Framer } from './framer.js';

class CaptureProcessor extends AudioWorkletProcessor {
  #framer = new Framer(sampleRate, (frame) => this.port.postMessage(frame, [frame.pcm]));

  /** @param {Float32Array[][]} inputs @returns {boolean} */
  process([channels]) {
    if (channels?.length) this.#framer.push(channels[0]); // no channel: the source is being changed
    return true;
  }
}

registerProcessor('voice-live-capture', CaptureProcessor);
