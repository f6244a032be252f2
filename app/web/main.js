/** The page: one call at a time, from the buttons to the call and from the call to what is shown. */

import { VoiceLiveCall } from './client/voice-live-call.js';
import { Conversation } from './conversation.js';
import { PushToTalk } from './push-to-talk.js';
import { announce, clock, find, inSeconds, showDevices, showPhase, showProblem, translate } from './stage.js';
import { chooseLanguage, text, useLanguage } from './texts.js';
import { Waveform } from './waveform.js';

/** @typedef {import('./stage.js').Phase} Phase */
/** @typedef {import('./client/failures.js').CallFailure} CallFailure */

const GOOD_ROUND_TRIP_MS = 250;
const UNSTEADY_FOR_MS = 20_000; // how long a gap in the agent's voice is held against the connection
const RESTART_WITHIN_MS = 30_000;

const device = /** @type {HTMLSelectElement} */ (find('device'));
const typed = /** @type {HTMLInputElement} */ (find('typed'));
const language = /** @type {HTMLSelectElement} */ (find('language'));
const conversation = new Conversation(find('log'), find('turns'));
const waveform = new Waveform(/** @type {HTMLCanvasElement} */ (find('waveform')));

const ticket = /** @type {HTMLInputElement} */ (find('ticket'));

let call = new VoiceLiveCall();
let needsTicket = false; // the gateway requires one for each call
/** @type {Phase} */ let phase = 'idle';
/** @type {CallFailure | null} */ let failure = null;
/** @type {AbortController | null} */ let waitingForServer = null;
let hasCalledAgain = false; // by itself, since the visitor pressed the button
let liveSince = 0; // 0 before a call has come about
let lostAt = 0;
let durationMs = 0;
let gapAt = -Infinity;
let clockTimer = 0;

/** @param {Phase} [next] */
function show(next = phase) {
  phase = next;
  showPhase({ phase, muted: call.muted, holdToTalk: pushToTalk.enabled, needsTicket, failure, durationMs });
}

/** As `show`, where the visitor must learn of it wherever they are on the page. @param {Phase} next */
function turnTo(next) {
  show(next);
  announce(`${find('headline').textContent}. ${find('explanation').textContent}`);
}

/** The visitor wants to call. */
function start() {
  hasCalledAgain = false;
  conversation.clear();
  find('headline').focus(); // the button that was pressed goes away
  return begin(pushToTalk.enabled);
}

/** @param {boolean} muted */
async function begin(muted) {
  call = new VoiceLiveCall(needsTicket ? { getTicket: takeTicket } : {});
  call.mute(muted);
  failure = null;
  durationMs = liveSince = 0;
  gapAt = -Infinity;
  showProblem('');
  for (const fact of ['answer', 'connection']) find(fact).textContent = text('facts.unknown');
  find('duration').textContent = clock(0);
  listen();
  await call.start({ deviceId: device.value || undefined });
}

async function askAboutTickets() {
  needsTicket = await VoiceLiveCall.ticketRequired();
  show();
}

/** It is good for one call. @returns {string} '' where the visitor gave none */
function takeTicket() {
  const given = ticket.value.trim();
  ticket.value = '';
  return given;
}

function hangUp() {
  waitingForServer?.abort();
  call.stop();
}

/** Shows whatever happens to `call`. */
function listen() {
  call.on('state', ({ state }) => {
    if (state === 'reconnecting') {
      lostAt = performance.now();
      find('connection').textContent = text('facts.unknown');
    }
    if (state === 'live' && liveSince) goOn();
    else if (state === 'live') comeAbout();
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
  const time = seconds < 120 ? text('time.seconds', { count: Math.round(seconds) }) : text('time.minutes', { count: Math.floor(seconds / 60) });
  switch (reason) {
    case 'drain':
      return text(callsAgainByItself() ? 'ending.drain' : 'ending.drain.again', { time });
    case 'max_duration':
    case 'idle':
      return text(`ending.${reason}`, { time });
    default:
      return text('ending.other', { time });
  }
}

function comeAbout() {
  liveSince = performance.now();
  clockTimer = window.setInterval(() => (find('duration').textContent = clock(performance.now() - liveSince)), 1000);
  waveform.start();
  void listDevices();
  turnTo('ready');
}

/** The connection is back; the gateway's status follows. */
function goOn() {
  const sentence = text('mark.back', { seconds: Math.ceil((performance.now() - lostAt) / 1000) });
  conversation.mark(sentence);
  show('ready');
  announce(sentence);
}

/** @param {CallFailure | null} why */
function finish(why) {
  window.clearInterval(clockTimer);
  waveform.stop();
  if (liveSince) durationMs = performance.now() - liveSince;
  failure = why;
  if (why?.code === 'unauthorized') void askAboutTickets();
  conversation.callerSaidNothing();
  showProblem('');
  const wasCutOff = why?.code === 'server_draining' || why?.code === 'connection_lost';
  if (wasCutOff && callsAgainByItself()) void callAgain(why);
  else turnTo(why ? 'failed' : 'ended');
  find('headline').focus();
}

/** Whether another call may follow this one without the visitor: once, and where it needs no ticket of theirs. */
const callsAgainByItself = () => Boolean(liveSince) && !hasCalledAgain && !needsTicket;

/** The visitor did not end the call, and need not press a button for another one. @param {CallFailure} why */
async function callAgain(why) {
  hasCalledAgain = true;
  waitingForServer = new AbortController();
  turnTo('returning');
  const isReady = await VoiceLiveCall.untilReady({ withinMs: RESTART_WITHIN_MS, signal: waitingForServer.signal });
  waitingForServer = null;
  if (!isReady) return finish(why);
  conversation.close();
  conversation.mark(text(why.code === 'server_draining' ? 'mark.restarted' : 'mark.lost'));
  await begin(call.muted);
}

/** @param {{responseId: string} & import('./client/turn-timer.js').Latency} latency */
function showLatency({ responseId, totalMs, silenceMs, answerMs, playoutMs }) {
  const [silence, answer, playout] = [silenceMs, answerMs, playoutMs].map(Math.round);
  conversation.annotate(responseId, text('turn.latency', { total: inSeconds(totalMs), silence, answer, playout }));
  find('answer').textContent = `${inSeconds(totalMs)} s`;
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

const pushToTalk = new PushToTalk(find('talk'), (talking) => {
  call.mute(!talking);
  show();
});

find('start').onclick = start;
find('end').onclick = hangUp;
find('interrupt').onclick = () => call.bargeIn();
find('mute').onclick = () => {
  call.mute(!call.muted);
  show();
};
find('hold').onchange = () => {
  pushToTalk.enabled = /** @type {HTMLInputElement} */ (find('hold')).checked;
  call.mute(pushToTalk.enabled);
  show();
};
find('composer').onsubmit = (event) => {
  event.preventDefault();
  const words = typed.value.trim();
  if (words && call.sendText(words)) typed.value = '';
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
window.addEventListener('pagehide', hangUp);

await speak(chooseLanguage(navigator.languages));
find('start').removeAttribute('disabled');
await askAboutTickets();
