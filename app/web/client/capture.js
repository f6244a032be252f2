/** The caller's microphone: asks for it, streams it as 20 ms frames, lets go of it. */

import { CallFailure } from './failures.js';

/** @typedef {import('./framer.js').Frame} Frame */

const CAPTURE_WORKLET = new URL('./capture-worklet.js', import.meta.url);

/**
 * @param {string} [deviceId] as `enumerateDevices` names it; without one, the default microphone
 * @returns {Promise<MediaStream>}
 * @throws {CallFailure} in words for what a browser refuses a microphone for
 */
async function openStream(deviceId) {
  if (!navigator.mediaDevices?.getUserMedia) throw new CallFailure('microphone_insecure');
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
    if (name === 'NotAllowedError' || name === 'SecurityError') throw new CallFailure('microphone_denied');
    if (name === 'NotFoundError' || name === 'OverconstrainedError') throw new CallFailure('microphone_missing');
    throw new CallFailure('microphone_busy');
  }
}

export class Microphone {
  /**
   * @param {AudioContext} context
   * @param {object} options
   * @param {string} [options.deviceId]
   * @param {(frame: Frame) => void} options.onFrame
   * @param {() => void} options.onLost the device was unplugged, or its permission withdrawn
   * @returns {Promise<Microphone>}
   * @throws {CallFailure}
   */
  static async open(context, { deviceId, onFrame, onLost }) {
    const [stream] = await Promise.all([openStream(deviceId), context.audioWorklet.addModule(CAPTURE_WORKLET)]);
    return new Microphone(context, stream, onFrame, onLost);
  }

  /** @private @param {AudioContext} context @param {MediaStream} stream @param {(frame: Frame) => void} onFrame @param {() => void} onLost */
  constructor(context, stream, onFrame, onLost) {
    this.#context = context;
    this.#onLost = onLost;
    this.#worklet = new AudioWorkletNode(context, 'voice-live-capture', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
    this.#worklet.port.onmessage = ({ data }) => onFrame(data);
    [this.#stream, this.#source] = this.#attach(stream);
  }
  #context;
  #onLost;
  #worklet;
  #stream;
  #source;
}
