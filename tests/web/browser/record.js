/**
 * Runs in the page before its own code: `heard` collects every sample that goes to the loudspeaker,
 * `streams` every microphone stream that the page was given. `asked` is what it asked for; with
 * `unprocessed` set it gets the samples of the microphone as they are.
 */

window.heard = [];
window.streams = [];
window.asked = null;
window.unprocessed = false;

const addModule = AudioWorklet.prototype.addModule;
AudioWorklet.prototype.addModule = async function (url) {
  await addModule.call(this, '/static/test-recorder-worklet.js');
  return addModule.call(this, url);
};

const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    const recorder = new AudioWorkletNode(this.context, 'test-recorder', { numberOfOutputs: 0 });
    recorder.port.onmessage = ({ data }) => window.heard.push(...data);
    window.heard = [];
    window.heardRateHz = this.context.sampleRate;
    connect.call(this, recorder);
  }
  return connect.call(this, target, ...rest);
};

const getUserMedia = MediaDevices.prototype.getUserMedia;
MediaDevices.prototype.getUserMedia = async function (constraints) {
  window.asked = constraints.audio;
  const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await getUserMedia.call(this, { audio: { ...constraints.audio, ...(window.unprocessed && off) } });
  window.streams.push(stream);
  return stream;
};
