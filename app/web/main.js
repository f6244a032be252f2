/** The page: one call at a time, from the buttons to the call and from the call to what is shown. */

import { VoiceLiveCall } from './client/voice-live-call.js';
import { Conversation } from './conversation.js';
import { announce, clock, find, inSeconds, showDevices, showPhase, showProblem, translate } from './stage.js';
import { chooseLanguage, text, useLanguage } from './texts.js';
import { Waveform } from './waveform.js';

/** @typedef {import('./stage.js').Phase} Phase */
/** @typedef {import('./client/failures.js').CallFailure} CallFailure */

const GOOD_ROUND_TRIP_MS = 250;
const UNSTEADY_FOR_MS = 20_000; // how long a gap in the agent's voice is held against the connection

const device = /** @type {HTMLSelectElement} */ (find('device'));
const typed = /** @type {HTMLInputElement} */ (find('typed'));
const language = /** @type {HTMLSelectElement} */ (find('language'));
const conversation = new Conversation(find('log'), find('turns'));
const waveform = new Waveform(/** @type {HTMLCanvasElement} */ (find('waveform')));

let call = new VoiceLiveCall();
/** @type {Phase} */ let phase = 'idle';
/** @type {CallFailure | null} */ let failure = null;
let liveSince = 0;
let durationMs = 0;
let gapAt = -Infinity;
let clockTimer = 0;

/** @param {Phase} [next] */
function show(next = phase) {
  phase = next;
  showPhase({ phase, muted: call.muted, failure, durationMs });
}

/** As `show`, where the visitor must learn of it wherever they are on the page. @param {Phase} next */
function turnTo(next) {
  show(next);
  announce(`${find('headline').textContent}. ${find('explanation').textContent}`);
}

async function start() {
  call = new VoiceLiveCall();
  failure = null;
  durationMs = liveSince = 0;
  gapAt = -Infinity;
  conversation.clear();
  showProblem('');
  for (const fact of ['answer', 'connection']) find(fact).textContent = text('facts.unknown');
  find('parts').textContent = '';
  find('duration').textContent = clock(0);
  listen();
  find('headline').focus(); // the button that was pressed goes away
  await call.start({ deviceId: device.value || undefined });
}

/** Shows whatever happens to `call`. */
function listen() {
  call.on('state', ({ state }) => {
    if (state === 'live') begin();
    else if (state !== 'idle' && state !== 'ended') turnTo(state);
  });
  call.on('status', ({ status, responseId }) => {
    show(status);
    if (status === 'listening') conversation.callerStarted();
    if (status === 'agent_speaking') conversation.agentStarted(responseId ?? '');
    if (status === 'ready') conversation.callerSaidNothing();
    if (status !== 'ready') showProblem('');
  });
  call.on('transcript', (transcript) => {
    conversation.show(transcript);
    if (transcript.speaker === 'agent' && !transcript.spoken) announce(transcript.text); // nobody hears it otherwise
  });
  call.on('interrupted', () => announce(text('interrupted')));
  call.on('level', ({ speaker, level }) => waveform.hear(speaker, level));
  call.on('latency', showLatency);
  call.on('underrun', () => (gapAt = performance.now()));
  call.on('quality', ({ roundTripMs }) => {
    const unsteady = performance.now() - gapAt < UNSTEADY_FOR_MS;
    const quality = unsteady ? 'quality.unsteady' : roundTripMs < GOOD_ROUND_TRIP_MS ? 'quality.good' : 'quality.fair';
    find('connection').textContent = text(quality, { ms: Math.max(1, Math.round(roundTripMs)) });
  });
  call.on('microphone', () => {
    void listDevices();
    tell(text('microphone.changed'));
  });
  call.on('problem', (problem) => {
    showProblem(problem.failure);
    announce(find('problem').textContent ?? '');
  });
  call.on('ending', ({ reason, secondsLeft }) => tell(endingSentence(reason, secondsLeft)));
  call.on('ended', (ended) => finish(ended.failure));
}

/** @param {string} sentence */
function tell(sentence) {
  showProblem(sentence);
  announce(sentence);
}

/** @param {string} reason @param {number} seconds */
function endingSentence(reason, seconds) {
  switch (reason) {
    case 'drain':
    case 'max_duration':
    case 'idle':
      return text(`ending.${reason}`, { seconds });
    default:
      return text('ending.other', { seconds });
  }
}

function begin() {
  liveSince = performance.now();
  clockTimer = window.setInterval(() => (find('duration').textContent = clock(performance.now() - liveSince)), 1000);
  waveform.start();
  void listDevices();
  turnTo('ready');
}

/** @param {CallFailure | null} why */
function finish(why) {
  window.clearInterval(clockTimer);
  waveform.stop();
  if (liveSince) durationMs = performance.now() - liveSince;
  failure = why;
  conversation.callerSaidNothing();
  showProblem('');
  turnTo(why ? 'failed' : 'ended');
  find('headline').focus();
}

/** @param {{responseId: string} & import('./client/turn-timer.js').Latency} latency */
function showLatency({ responseId, totalMs, silenceMs, answerMs, playoutMs }) {
  const total = text('turn.latency', { total: inSeconds(totalMs) });
  conversation.annotate(responseId, total);
  const [silence, answer, playout] = [silenceMs, answerMs, playoutMs].map(Math.round);
  find('answer').textContent = `${inSeconds(totalMs)} s`;
  find('parts').textContent = text('facts.parts', { silence, answer, playout });
}

async function listDevices() {
  showDevices(await VoiceLiveCall.devices(), call.deviceId || device.value);
}

/** @param {string} chosen */
async function speak(chosen) {
  await useLanguage(/** @type {import('./texts.js').Language} */ (chosen));
  language.value = chosen;
  translate();
  show();
  await listDevices();
}

find('start').onclick = start;
find('end').onclick = () => call.stop();
find('interrupt').onclick = () => call.bargeIn();
find('mute').onclick = () => {
  call.mute(!call.muted);
  show();
};
find('composer').onsubmit = (event) => {
  event.preventDefault();
  const words = typed.value.trim();
  if (!words) return;
  call.sendText(words);
  typed.value = '';
};
device.onchange = async () => {
  if (call.state !== 'live') return; // it is used when a call starts
  try {
    await call.useDevice(device.value);
  } catch (refused) {
    showProblem(/** @type {CallFailure} */ (refused));
    await listDevices();
  }
};
language.onchange = () => speak(language.value);
navigator.mediaDevices?.addEventListener('devicechange', () => listDevices());
window.addEventListener('pagehide', () => call.stop());

await speak(chooseLanguage(navigator.languages));
