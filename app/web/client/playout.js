/** The agent's voice: hands what arrives to the playout worklet and hears from it what was played. */

/** @typedef {import('./playout-buffer.js').PlayoutEvent} PlayoutEvent */
/** @typedef {import('./playout-buffer.js').PlayoutCommand} PlayoutCommand */

const WORKLET = new URL('./playout-worklet.js', import.meta.url);

export class Playout {
  /** @param {AudioContext} context */
  static load(context) {
    return context.audioWorklet.addModule(WORKLET);
  }

  /**
   * @param {AudioContext} context in which `load` has succeeded
   * @param {(event: PlayoutEvent) => void} onEvent
   * @param {(level: number) => void} onLevel root mean square of what sounds, 0 to 1
   */
  constructor(context, onEvent, onLevel) {
    this.#worklet = new AudioWorkletNode(context, 'voice-live-playout', { numberOfInputs: 0, outputChannelCount: [1] });
    this.#worklet.port.onmessage = ({ data }) => (data.type === 'level' ? onLevel(data.level) : onEvent(data));
    this.#volume = new GainNode(context);
    this.#worklet.connect(this.#volume).connect(context.destination);
  }

  #worklet;
  #volume;

  /** @param {string} id @param {ArrayBuffer} pcm PCM16, 24 kHz; it is given away */
  push(id, pcm) {
    this.#send({ type: 'push', id, pcm }, [pcm]);
  }

  /** @param {'end' | 'clear' | 'hold' | 'resume'} type @param {string} id */
  command(type, id) {
    this.#send({ type, id });
  }

  /** @param {'holdAll' | 'rewind'} type */
  commandAll(type) {
    this.#send({ type });
  }

  /** Falls silent within 10 ms; the context may be closed after that. */
  close() {
    this.#worklet.port.onmessage = null;
    this.#volume.gain.setTargetAtTime(0, this.#volume.context.currentTime, 0.002);
  }

  /** @param {PlayoutCommand} command @param {Transferable[]} [transfer] */
  #send(command, transfer = []) {
    this.#worklet.port.postMessage(command, transfer);
  }
}
