/**
 * Runs in the page before its own code: records what the microphone delivers and what leaves the playout
 * worklet, sample by sample on the one clock of their AudioContext. `recorded` begins anew with each call.
 * `recorderSource` is the text of record-both-worklet.js.
 */

window.recorded = { rateHz: 0, microphone: [], agent: [] };

const recorders = new WeakMap();
const recorderModule = URL.createObjectURL(new Blob([window.recorderSource], { type: 'text/javascript' }));
const connect = AudioNode.prototype.connect;
const addModule = AudioWorklet.prototype.addModule;

AudioWorklet.prototype.addModule = async function (url) {
  await addModule.call(this, recorderModule);
  return addModule.call(this, url);
};

function recorderOf(context) {
  if (!recorders.has(context)) {
    const options = { numberOfInputs: 2, numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' };
    const recorder = new AudioWorkletNode(context, 'record-both', options);
    window.recorded = { rateHz: context.sampleRate, microphone: [], agent: [] };
    recorder.port.onmessage = ({ data }) => {
      window.recorded.microphone.push(...data.microphone);
      window.recorded.agent.push(...data.agent);
    };
    recorders.set(context, recorder);
  }
  return recorders.get(context);
}

AudioNode.prototype.connect = function (target, ...rest) {
  if (this instanceof MediaStreamAudioSourceNode) connect.call(this, recorderOf(this.context), 0, 0);
  if (target instanceof AudioDestinationNode) connect.call(this, recorderOf(this.context), 0, 1);
  return connect.call(this, target, ...rest);
};

/** @param {number[]} samples @returns {string} base64 of 32-bit floats, little-endian */
window.packed = (samples) => {
  const bytes = new Uint8Array(Float32Array.from(samples).buffer);
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
};
