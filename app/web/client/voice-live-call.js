/**
 * One voice call from a browser, over the gateway's `/ws/voice`.
 *
 *     const call = new VoiceLiveCall();
 *     call.on('transcript', ({ speaker, text }) => console.log(speaker, text));
 *     startButton.onclick = () => call.start();
 *
 * It owns the microphone, the loudspeaker and the socket from `start` until `ended`, and shows nothing: what
 * a person sees is the business of its events. README.md beside this file describes them.
 */

import { Microphone } from './capture.js';
import { CallFailure, codeOfClose, learnWhyRefused } from './failures.js';
import { parseServerMessage, SUBPROTOCOL } from './messages.js';
import { Playout } from './playout.js';
import { TurnTimer } from './turn-timer.js';

/** @typedef {import('./messages.js').ClientMessage} ClientMessage */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./call-events.js').CallEvents} CallEvents */
/** @typedef {import('./call-events.js').CallState} CallState */
/** @typedef {import('./call-events.js').Speaker} Speaker */
/** @typedef {import('./call-events.js').Transcript} Transcript */

const SESSION_TIMEOUT_MS = 15_000; // the gateway allows itself 10 s to reach the agent
const HANG_UP_TIMEOUT_MS = 2_000;
const PING_INTERVAL_MS = 5_000;
const PONG_TIMEOUT_MS = 10_000;
// Speech that cannot leave within a second is dropped: late, it would only push the conversation back.
const MAX_UNSENT_BYTES = 48_000;
const FADE_OUT_MS = 50;
const CORE_RESPONSE = 'response'; // where a gateway names no response, there is one at a time

export class VoiceLiveCall extends EventTarget {
  /**
   * @param {object} [options]
   * @param {string | URL} [options.url] of `/ws/voice`; without it, on the server that the page came from
   */
  constructor({ url = '/ws/voice' } = {}) {
    super();
    this.#url = new URL(url, document.baseURI);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
  }

  #url;
  /** @type {CallState} */ #state = 'idle';
  /** @type {AudioContext | null} */ #context = null;
  /** @type {Microphone | null} */ #microphone = null;
  /** @type {Playout | null} */ #playout = null;
  /** @type {WebSocket | null} */ #socket = null;
  #muted = false;
  #incoming = ''; // the response that binary frames belong to now; '' while none may come
  #captions = { user: { id: '', text: '' }, agent: { id: '', text: '' } };
  /** @type {Set<string>} */ #reported = new Set(); // responses whose played time was sent
  #turn = new TurnTimer();
  #pingSentAt = 0; // 0 while nothing is owed
  #pingTimer = 0;
  #deadline = 0;
  #settleStart = () => {};

  /** @returns {CallState} */
  get state() {
    return this.#state;
  }

  get muted() {
    return this.#muted;
  }

  /** The microphone in use, as `devices` names it. */
  get deviceId() {
    return this.#microphone?.deviceId ?? '';
  }

  /** @returns {Promise<MediaDeviceInfo[]>} microphones; their labels are empty until the caller allowed one */
  static async devices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices.filter((device) => device.kind === 'audioinput' && device.deviceId !== '');
  }

  /**
   * Asks for the microphone, then calls. Must follow a click or a key press: browsers mute pages otherwise.
   *
   * @param {object} [options]
   * @param {string} [options.deviceId] which microphone; without it, the default
   * @returns {Promise<void>} when the call is live or has ended. Why it did not begin is told by `ended`
   * @throws {Error} when it was started before: one object is one call
   */
  async start({ deviceId } = {}) {
    if (this.#state !== 'idle') throw new Error('A VoiceLiveCall is one call: make another one');
    this.#setState('microphone');
    try {
      await this.#openAudio(deviceId);
    } catch (error) {
      // What is not a refused microphone is a worklet that could not be fetched.
      return this.#end('failed', error instanceof CallFailure ? error : new CallFailure('unreachable'));
    }
    if (this.state !== 'microphone') return; // stopped while the browser was asking
    this.#setState('connecting');
    this.#connect();
    await new Promise((resolve) => (this.#settleStart = () => resolve(undefined)));
  }

  /** Hangs up. The microphone is released at once; `ended` follows when the gateway has confirmed. */
  stop() {
    if (this.#state === 'idle') return;
    if (this.#socket?.readyState !== WebSocket.OPEN) return this.#end('caller');
    this.#send({ type: 'end' });
    this.#setState('ending');
    this.#releaseAudio();
    this.#setDeadline(HANG_UP_TIMEOUT_MS, () => this.#end('caller'));
  }

  /** While muted, the gateway receives silence and the call goes on. @param {boolean} muted */
  mute(muted) {
    this.#muted = muted;
    if (this.#microphone) this.#microphone.muted = muted;
  }

  /** Interrupts the agent, as speaking does. */
  bargeIn() {
    this.#send({ type: 'barge_in' });
  }

  /** Says something in writing; interrupts the agent. @param {string} text 1 to 2,000 characters */
  sendText(text) {
    this.#turn.callerStopped(performance.now());
    this.#send({ type: 'text', text });
    this.#transcript('user', '', text, { spoken: false });
  }

  /**
   * Goes on with another microphone.
   *
   * @param {string} deviceId
   * @throws {CallFailure} when it cannot be had; the one before is then still in use
   */
  async useDevice(deviceId) {
    await this.#microphone?.open(deviceId);
  }

  /**
   * Listens; an `addEventListener` with types that hands over the event's `detail`.
   *
   * @template {keyof CallEvents} Type
   * @param {Type} type
   * @param {(detail: CallEvents[Type]) => void} listener
   */
  on(type, listener) {
    this.addEventListener(type, (event) => listener(/** @type {CustomEvent} */ (event).detail));
  }

  // ------------------------------------------------------------------------------------------------ audio

  /** @param {string} [deviceId] */
  async #openAudio(deviceId) {
    const context = (this.#context = new AudioContext({ latencyHint: 'interactive' }));
    // A telephone call or the system can suspend the context, which never comes back by itself. Where it may
    // not come back yet, its state changes again when it may.
    context.onstatechange = () => {
      if (context.state !== 'running' && context.state !== 'closed') context.resume().catch(() => {});
    };
    await Microphone.load(context);
    await Playout.load(context);
    if (this.#state !== 'microphone') return;
    this.#playout = new Playout(
      context,
      (event) => this.#onPlayout(event),
      (level) => this.#emit('level', { speaker: 'agent', level }),
    );
    this.#microphone = new Microphone(
      context,
      (frame) => this.#onFrame(frame),
      () => this.#replaceMicrophone(),
    );
    this.#microphone.muted = this.#muted;
    await this.#microphone.open(deviceId);
    await context.resume();
  }

  /** @param {import('./framer.js').Frame} frame */
  #onFrame({ pcm, level }) {
    this.#emit('level', { speaker: 'user', level });
    this.#turn.callerHeard(level, performance.now());
    const socket = this.#socket;
    if (socket?.readyState === WebSocket.OPEN && socket.bufferedAmount < MAX_UNSENT_BYTES) socket.send(pcm);
  }

  async #replaceMicrophone() {
    try {
      await this.#microphone?.open();
      this.#emit('microphone', { deviceId: this.deviceId });
    } catch {
      this.#end('failed', new CallFailure('microphone_lost'));
    }
  }

  /** @param {import('./playout.js').PlayoutEvent} event */
  #onPlayout(event) {
    if (event.type === 'started') {
      const latency = this.#turn.agentHeard(performance.now());
      if (latency) this.#emit('latency', { responseId: event.id, ...latency });
    } else if (event.type === 'underrun') {
      this.#emit('underrun', { responseId: event.id });
    } else if (event.id !== CORE_RESPONSE && !this.#reported.has(event.id)) {
      this.#reported.add(event.id);
      this.#send({ type: 'playback', response_id: event.id, played_ms: event.playedMs });
    }
  }

  #releaseAudio() {
    this.#microphone?.close();
    this.#playout?.close();
    const context = this.#context;
    if (context) window.setTimeout(() => context.close(), FADE_OUT_MS);
    this.#microphone = null;
    this.#playout = null;
    this.#context = null;
  }

  // ----------------------------------------------------------------------------------------------- socket

  #connect() {
    const socket = (this.#socket = new WebSocket(this.#url, SUBPROTOCOL));
    socket.binaryType = 'arraybuffer';
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#pingTimer = window.setInterval(() => this.#ping(), PING_INTERVAL_MS);
      this.#ping();
    };
    socket.onmessage = ({ data }) => this.#onMessage(data);
    socket.onclose = async ({ code }) => {
      if (!opened) return this.#end('failed', await learnWhyRefused(this.#url));
      if (code === 1000) return this.#end('server');
      this.#end('failed', new CallFailure(codeOfClose(code)));
    };
    this.#setDeadline(SESSION_TIMEOUT_MS, () => this.#end('failed', new CallFailure('no_answer')));
  }

  /** @param {ClientMessage} message */
  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Notices a connection that is dead without saying so. */
  #ping() {
    const now = performance.now();
    if (this.#pingSentAt && now - this.#pingSentAt > PONG_TIMEOUT_MS) {
      return this.#end('failed', new CallFailure('connection_lost'));
    }
    if (this.#pingSentAt) return;
    this.#pingSentAt = now;
    this.#send({ type: 'ping' });
  }

  /** @param {string | ArrayBuffer} data */
  #onMessage(data) {
    if (typeof data !== 'string') return this.#onAudio(data);
    const message = parseServerMessage(data);
    if (message) this.#receive(message);
  }

  /** @param {ArrayBuffer} pcm */
  #onAudio(pcm) {
    if (!this.#incoming) return; // late audio of a response that was cleared
    this.#turn.agentArrived(performance.now());
    this.#playout?.push(this.#incoming, pcm.byteLength % 2 ? pcm.slice(0, -1) : pcm);
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    switch (message.type) {
      case 'session_started':
        window.clearTimeout(this.#deadline);
        this.#setState('live');
        this.#settleStart();
        break;
      case 'status':
        this.#receiveStatus(message);
        break;
      case 'agent_audio_end':
        this.#incoming = '';
        this.#playout?.command('end', message.response_id);
        break;
      case 'clear_playback':
        if (this.#incoming === message.response_id) this.#incoming = '';
        this.#playout?.command('clear', message.response_id);
        this.#emit('interrupted', { responseId: message.response_id });
        break;
      case 'hold_playback':
        this.#playout?.command('hold', message.response_id);
        break;
      case 'resume_playback':
        this.#playout?.command('resume', message.response_id);
        break;
      case 'pong':
        this.#emit('quality', { roundTripMs: performance.now() - this.#pingSentAt });
        this.#pingSentAt = 0;
        break;
      case 'session_ending':
        this.#emit('ending', { reason: message.reason, secondsLeft: message.seconds_left });
        break;
      case 'session_ended':
        this.#end(message.reason);
        break;
      case 'error':
        this.#receiveError(message);
        break;
      default:
        this.#receiveText(message);
    }
  }
  /** @param {Extract<ServerMessage, {type: 'status'}>} message */
  #receiveStatus({ status, response_id: responseId }) {
    if (status === 'agent_speaking') this.#incoming = responseId ?? CORE_RESPONSE;
    if (status === 'listening') this.#turn.callerStarted();
    if (status === 'processing') this.#turn.callerStopped(performance.now());
    this.#emit('status', { status, responseId });
  }

  /** @param {Extract<ServerMessage, {type: 'error'}>} message */
  #receiveError({ code = 'internal', message, fatal = false, retryable, retry_after_ms: retryAfterMs, ref }) {
    const failure = new CallFailure(code, { message, retryable, retryAfterMs, ref });
    if (fatal) this.#end('failed', failure);
    else this.#emit('problem', { failure });
  }

  /** @param {Extract<ServerMessage, {text: string}>} message */
  #receiveText(message) {
    switch (message.type) {
      case 'user_transcript_delta':
        return this.#caption('user', message.item_id ?? '', message.text);
      case 'agent_transcript_delta':
        return this.#caption('agent', message.response_id ?? this.#incoming, message.text);
      case 'user_transcript':
        return this.#transcript('user', message.item_id, message.text);
      case 'agent_text':
        return this.#transcript('agent', message.response_id, message.text, { spoken: false });
      case 'agent_transcript':
        return this.#transcript('agent', message.response_id, message.text, {
          interrupted: message.interrupted ?? false,
          heardText: message.heard_text,
        });
    }
  }

  /** @param {Speaker} speaker @param {string} [id] @param {string} [text] @param {Partial<Transcript>} [more] */
  #transcript(speaker, id = '', text = '', more = {}) {
    this.#emit('transcript', { speaker, id, text, final: true, spoken: true, interrupted: false, ...more });
  }

  /** @param {Speaker} speaker @param {string} id @param {string} delta */
  #caption(speaker, id, delta) {
    const caption = this.#captions[speaker];
    const text = caption.id === id ? caption.text + delta : delta;
    this.#captions[speaker] = { id, text };
    this.#emit('transcript', { speaker, id, text, final: false, spoken: true, interrupted: false });
  }

  // -------------------------------------------------------------------------------------------------- end

  /** Everything ends here, once. @param {string} reason @param {CallFailure} [failure] */
  #end(reason, failure) {
    if (this.#state === 'ended') return;
    window.clearTimeout(this.#deadline);
    window.clearInterval(this.#pingTimer);
    this.#releaseAudio();
    this.#socket?.close();
    this.#setState('ended');
    this.#emit('ended', { reason, failure: failure ?? null });
    this.#settleStart();
  }

  /** @param {number} milliseconds @param {() => void} action */
  #setDeadline(milliseconds, action) {
    window.clearTimeout(this.#deadline);
    this.#deadline = window.setTimeout(action, milliseconds);
  }

  /** @param {CallState} state */
  #setState(state) {
    this.#state = state;
    this.#emit('state', { state });
  }

  /** @template {keyof CallEvents} Type @param {Type} type @param {CallEvents[Type]} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
