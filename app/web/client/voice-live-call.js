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
import { Connection } from './connection.js';
import { CallFailure } from './failures.js';
import { Playout } from './playout.js';
import { askReady, untilReady } from './readiness.js';
import { Transcripts } from './transcripts.js';
import { TurnTimer } from './turn-timer.js';

/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./call-events.js').CallEvents} CallEvents */
/** @typedef {import('./call-events.js').CallState} CallState */

const HANG_UP_TIMEOUT_MS = 2_000;
const FADE_OUT_MS = 50;
const CORE_RESPONSE = 'response'; // where a gateway names no response, there is one at a time

/** @param {string | URL} url @returns {URL} */
function callUrl(url) {
  const absolute = new URL(url, document.baseURI);
  absolute.protocol = absolute.protocol.replace('http', 'ws');
  return absolute;
}

export class VoiceLiveCall extends EventTarget {
  /**
   * @param {object} [options]
   * @param {string | URL} [options.url] of `/ws/voice`; without it, on the server that the page came from
   * @param {import('./ticket.js').GetTicket} [options.getTicket] asked just before the call is opened, where the
   *   gateway requires tickets
   */
  constructor({ url = '/ws/voice', getTicket } = {}) {
    super();
    this.#url = callUrl(url);
    this.#getTicket = getTicket ?? null;
  }

  #url;
  #getTicket;
  /** @type {CallState} */ #state = 'idle';
  /** @type {AudioContext | null} */ #context = null;
  /** @type {Microphone | null} */ #microphone = null;
  /** @type {Playout | null} */ #playout = null;
  /** @type {Connection | null} */ #connection = null;
  #muted = false;
  #incoming = ''; // the response that binary frames belong to now; '' while none may come
  #transcripts = new Transcripts();
  /** @type {Set<string>} */ #reported = new Set(); // responses whose played time was sent
  #turn = new TurnTimer();
  #hangUpTimer = 0;
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

  /** @returns {Promise<MediaDeviceInfo[]>} microphones; their names, labels and ids, are empty until the caller allowed one */
  static async devices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices.filter((device) => device.kind === 'audioinput');
  }

  /**
   * @param {object} [options]
   * @param {string | URL} [options.url] as for a call
   * @returns {Promise<boolean>} whether the gateway requires a ticket for each call; false also where it is not there
   */
  static async ticketRequired({ url = '/ws/voice' } = {}) {
    return (await askReady(callUrl(url))).ticketRequired;
  }

  /**
   * Waits until the gateway takes calls, as after a restart.
   *
   * @param {object} options
   * @param {string | URL} [options.url] as for a call
   * @param {number} options.withinMs
   * @param {AbortSignal} [options.signal] ends the wait
   * @returns {Promise<boolean>} false when the time has passed first, or the wait was ended
   */
  static untilReady({ url = '/ws/voice', withinMs, signal }) {
    return untilReady(callUrl(url), withinMs, signal);
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
    if (!this.#connection?.isOpen) return this.#end('caller');
    this.#connection.hangUp();
    this.#setState('ending');
    this.#releaseAudio();
    this.#hangUpTimer = window.setTimeout(() => this.#end('caller'), HANG_UP_TIMEOUT_MS);
  }

  /** While muted, the gateway receives silence and the call goes on. @param {boolean} muted */
  mute(muted) {
    this.#muted = muted;
    if (this.#microphone) this.#microphone.muted = muted;
  }

  /** Interrupts the agent, as speaking does. */
  bargeIn() {
    this.#connection?.send({ type: 'barge_in' });
  }

  /**
   * Says something in writing; interrupts the agent.
   *
   * @param {string} text 1 to 2,000 characters
   * @returns {boolean} false where there is no connection to say it on
   */
  sendText(text) {
    if (!this.#connection?.send({ type: 'text', text })) return false;
    this.#turn.callerStopped(performance.now());
    this.#emit('transcript', { speaker: 'user', id: '', text, final: true, spoken: false, interrupted: false });
    return true;
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
    this.#connection?.sendAudio(pcm);
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
      this.#connection?.send({ type: 'playback', response_id: event.id, played_ms: event.playedMs });
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

  // ------------------------------------------------------------------------------------------- connection

  #connect() {
    this.#connection = new Connection(this.#url, this.#getTicket, {
      onMessage: (message) => this.#receive(message),
      onAudio: (pcm) => this.#onAudio(pcm),
      onRoundTrip: (roundTripMs) => this.#state !== 'reconnecting' && this.#emit('quality', { roundTripMs }),
      onLost: () => this.#onLost(),
      onEnd: (failure) => this.#onEnd(failure),
    });
    void this.#connection.open();
  }

  /** The agent falls silent: what the caller does not hear now is said when the connection is back. */
  #onLost() {
    this.#incoming = '';
    this.#playout?.commandAll('holdAll');
    this.#setState('reconnecting');
  }

  /** @param {import('./failures.js').CallFailure | null} failure */
  #onEnd(failure) {
    if (this.#state === 'ending') this.#end('caller');
    else if (failure) this.#end('failed', failure);
    else this.#end('server');
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
        this.#start();
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

  /** The session has started, or is taken up again. */
  #start() {
    if (this.#state === 'reconnecting') this.#playout?.commandAll('rewind');
    this.#setState('live');
    this.#settleStart();
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

  /** @param {ServerMessage} message */
  #receiveText(message) {
    const transcript = 'text' in message ? this.#transcripts.receive(message, this.#incoming) : null;
    if (transcript) this.#emit('transcript', transcript);
  }

  // -------------------------------------------------------------------------------------------------- end

  /** Everything ends here, once. @param {string} reason @param {CallFailure} [failure] */
  #end(reason, failure) {
    if (this.#state === 'ended') return;
    window.clearTimeout(this.#hangUpTimer);
    this.#releaseAudio();
    this.#connection?.close();
    this.#setState('ended');
    this.#emit('ended', { reason, failure: failure ?? null });
    this.#settleStart();
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
