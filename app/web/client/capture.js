/** The caller's microphone: asks for it, streams it as 20 ms frames, changes it, lets go of it. */

import { CallFailure } from './failures.js';

/** @typedef {import('./framer.js').Frame} Frame */

const WORKLET = new URL('./capture-worklet.js', import.meta.url);

/** What browsers throw for a microphone that cannot be had. @type {Record<string, string>} */
const FAILURES = {
  NotAllowedError: 'microphone_denied',
  SecurityError: 'microphone_denied',
  NotFoundError: 'microphone_missing',
  OverconstrainedError: 'microphone_missing',
};

/**
 * @param {string} [deviceId]
 * @returns {Promise<MediaStream>}
 */
async function openStream(deviceId) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: deviceId ? { exact: deviceId } : undefined,
        channelCount: 1,
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
      },
    });
  } catch (error) {
    const name = error instanceof Error ? error.name : '';
    throw new CallFailure(FAILURES[name] ?? 'microphone_busy');
  }
}

export class Microphone {
  /** @param {AudioContext} context @returns {Promise<void>} @throws {CallFailure} */
  static async load(context) {
    // Browsers hide these on pages that are neither https nor localhost.
    if (!navigator.mediaDevices || !context.audioWorklet) throw new CallFailure('microphone_insecure');
    await context.audioWorklet.addModule(WORKLET);
  }

  /**
   * @param {AudioContext} context in which `load` has succeeded
   * @param {(frame: Frame) => void} onFrame
   * @param {() => void} onLost the device was unplugged, or its permission withdrawn
   */
  constructor(context, onFrame, onLost) {
    this.#context = context;
    this.#onLost = onLost;
    this.#worklet = new AudioWorkletNode(context, 'voice-live-capture', {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: 'explicit', // stereo microphones are mixed down
    });
    this.#worklet.port.onmessage = ({ data }) => onFrame(data);
  }

  #context;
  #onLost;
  #worklet;
  /** @type {MediaStream | null} */ #stream = null;
  /** @type {MediaStreamAudioSourceNode | null} */ #source = null;
  #muted = false;
  #closed = false;

  /**
   * Asks for a microphone and listens to it, in place of the one before.
   *
   * @param {string} [deviceId] as `enumerateDevices` names it; without one, the default
   * @returns {Promise<void>} when it listens, or when it was closed in the meantime
   * @throws {CallFailure} when it cannot be had; the one before then goes on
   */
  async open(deviceId) {
    const stream = await openStream(deviceId);
    this.#release();
    const [track] = stream.getAudioTracks();
    if (this.#closed) return track.stop();
    track.onended = this.#onLost;
    track.enabled = !this.#muted;
    this.#stream = stream;
    this.#source = this.#context.createMediaStreamSource(stream);
    this.#source.connect(this.#worklet);
  }

  /** The device in use, as `enumerateDevices` names it. */
  get deviceId() {
    return this.#stream?.getAudioTracks()[0].getSettings().deviceId ?? '';
  }

  /** While muted, the browser itself delivers silence. @param {boolean} muted */
  set muted(muted) {
    this.#muted = muted;
    for (const track of this.#stream?.getTracks() ?? []) track.enabled = !muted;
  }

  /** Lets go of the device at once; nothing is heard or sent after this. */
  close() {
    this.#closed = true;
    this.#worklet.port.onmessage = null;
    this.#release();
  }

  #release() {
    for (const track of this.#stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.#source?.disconnect();
    this.#stream = null;
    this.#source = null;
  }
}
