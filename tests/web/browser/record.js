/**
 * Runs in the page before its own code: `heard` collects every sample that goes to the loudspeaker,
 * `streams` every microphone stream that the page was given. `asked` is what it asked for; with
 * `unprocessed` set it gets the samples of the microphone as they are. `plugIn` and `unplug` are a microphone
 * that comes and goes: one that hears a tone.
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

/** Microphones that were plugged in, by their id. @type {Map<string, {label: string, frequencyHz: number}>} */
const plugged = new Map();

window.plugIn = (deviceId, label, frequencyHz) => {
  plugged.set(deviceId, { label, frequencyHz });
  navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
};

window.unplug = (deviceId) => {
  plugged.delete(deviceId);
  for (const track of window.streams.flatMap((stream) => stream.getTracks())) {
    if (track.readyState === 'live' && track.getSettings().deviceId === deviceId) {
      track.stop();
      track.dispatchEvent(new Event('ended'));
    }
  }
  navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
};

function toneStream(deviceId, frequencyHz) {
  const context = new AudioContext();
  const tone = new OscillatorNode(context, { frequency: frequencyHz });
  const heard = new MediaStreamAudioDestinationNode(context);
  tone.connect(new GainNode(context, { gain: 0.3 })).connect(heard);
  tone.start();
  const [track] = heard.stream.getTracks();
  const settings = track.getSettings();
  track.getSettings = () => ({ ...settings, deviceId });
  return heard.stream;
}

const enumerateDevices = MediaDevices.prototype.enumerateDevices;
MediaDevices.prototype.enumerateDevices = async function () {
  const others = [...plugged].map(([deviceId, { label }]) => ({ deviceId, label, kind: 'audioinput', groupId: '' }));
  return [...(await enumerateDevices.call(this)), ...others];
};

const getUserMedia = MediaDevices.prototype.getUserMedia;
MediaDevices.prototype.getUserMedia = async function (constraints) {
  window.asked = constraints.audio;
  const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const wanted = constraints.audio.deviceId?.exact;
  const stream = plugged.has(wanted)
    ? toneStream(wanted, plugged.get(wanted).frequencyHz)
    : await getUserMedia.call(this, { audio: { ...constraints.audio, ...(window.unprocessed && off) } });
  window.streams.push(stream);
  return stream;
};
