/** Posts both inputs of every tenth of a second or so; an input that has no channel is silent. */

const FRAMES = 4096;

class RecordBoth extends AudioWorkletProcessor {
  #microphone = new Float32Array(FRAMES);
  #agent = new Float32Array(FRAMES);
  #filled = 0;

  process([microphone, agent]) {
    const silence = new Float32Array(128);
    this.#microphone.set(microphone[0] ?? silence, this.#filled);
    this.#agent.set(agent[0] ?? silence, this.#filled);
    this.#filled += 128;
    if (this.#filled === FRAMES) {
      this.port.postMessage({ microphone: this.#microphone, agent: this.#agent });
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor('record-both', RecordBoth);
