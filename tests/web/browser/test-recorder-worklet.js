/** Keeps what it hears: posts the samples of every tenth of a second or so. */

class Recorder extends AudioWorkletProcessor {
  #samples = new Float32Array(4096);
  #filled = 0;

  process([[channel]]) {
    this.#samples.set(channel ?? new Float32Array(128), this.#filled);
    this.#filled += 128;
    if (this.#filled === this.#samples.length) {
      this.port.postMessage(this.#samples);
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor('test-recorder', Recorder);
