/**
 * The socket of a call: opens it, notices when it breaks, and takes the session up again where it was.
 *
 * Frames pass through both ways; of the messages it acts on `session_started` and `pong` alone.
 */

import { CallFailure, codeOfClose, learnWhyRefused } from './failures.js';
import { parseServerMessage, SUBPROTOCOL } from './messages.js';
import { pause } from './readiness.js';
import { ticketProtocol } from './ticket.js';

/** @typedef {import('./messages.js').ClientMessage} ClientMessage */
/** @typedef {import('./messages.js').ServerMessage} ServerMessage */

const SESSION_TIMEOUT_MS = 15_000; // the gateway allows itself 10 s to reach the agent
const PING_INTERVAL_MS = 5_000;
const PONG_TIMEOUT_MS = 10_000;
// Speech that cannot leave within a second is dropped: late, it would only push the conversation back.
const MAX_UNSENT_BYTES = 48_000;
const BROKEN = 1006; // what browsers report where no close frame came

// The waits before each try to return, and their bound. Spread a little: many callers lose one server at once.
const RETURN_PAUSES_MS = [0, 500, 1000, 2000, 3000, 4000];
const RETURN_SPREAD = 0.25;
const RETURN_WITHIN_MS = 15_000;
const RETURN_TRY_TIMEOUT_MS = 5_000;

/** Failures of a try to return after which the next may succeed. */
const PASSING = ['unreachable', 'not_ready', 'no_answer', 'connection_lost'];

/** Why there is no session; `failure` is null after an orderly end. @typedef {{failure: CallFailure | null}} Ending */

/**
 * What a connection tells its call.
 *
 * @typedef {object} Listener
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(pcm: ArrayBuffer) => void} onAudio
 * @property {(milliseconds: number) => unknown} onRoundTrip
 * @property {() => void} onLost it broke and is being taken up again; the next `session_started` says that it was
 * @property {(failure: CallFailure | null) => void} onEnd it is over; null after an orderly end. Always the last
 */

/** @param {number} closeCode @returns {Ending} */
const endingOf = (closeCode) => ({ failure: closeCode === 1000 ? null : new CallFailure(codeOfClose(closeCode)) });

export class Connection {
  /** @param {URL} url @param {import('./ticket.js').GetTicket | null} getTicket @param {Listener} listener */
  constructor(url, getTicket, listener) {
    this.#url = url;
    this.#getTicket = getTicket;
    this.#listener = listener;
  }

  #url;
  #getTicket;
  #listener;
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {WebSocket | null} */ #brokenSocket = null;
  #resumeToken = ''; // '' where a broken connection is the end of the session
  #pingSentAt = 0; // 0 while nothing is owed
  #pingTimer = 0;
  #returnTimer = 0;
  #over = false;

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  async open() {
    const protocols = [SUBPROTOCOL];
    try {
      if (this.#getTicket) protocols.push(await ticketProtocol(this.#getTicket));
    } catch (failure) {
      return this.#end(/** @type {CallFailure} */ (failure));
    }
    if (this.#over) return; // given up while the ticket was on its way
    const ending = await this.#openSession(protocols, SESSION_TIMEOUT_MS);
    if (ending) this.#end(ending.failure);
  }

  /** @param {ClientMessage} message @returns {boolean} false where there is no connection to send it on */
  send(message) {
    if (!this.isOpen) return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  }

  /** @param {ArrayBuffer} pcm */
  sendAudio(pcm) {
    if (this.isOpen && this.#socket && this.#socket.bufferedAmount < MAX_UNSENT_BYTES) this.#socket.send(pcm);
  }

  /** The caller hangs up: what happens from now on is the end. */
  hangUp() {
    this.#resumeToken = '';
    this.send({ type: 'end' });
  }

  /** Nothing is told after this. */
  close() {
    this.#over = true;
    window.clearTimeout(this.#returnTimer);
    this.#letGo()?.close();
    this.#brokenSocket?.close();
  }

  /** @param {CallFailure | null} failure */
  #end(failure) {
    if (this.#over) return;
    this.close();
    this.#listener.onEnd(failure);
  }

  /**
   * @param {string[]} protocols @param {number} timeoutMs
   * @returns {Promise<Ending | null>} null when the session has started; what comes later is told to the listener
   */
  #openSession(protocols, timeoutMs) {
    const socket = (this.#socket = new WebSocket(this.#url, protocols));
    socket.binaryType = 'arraybuffer';
    return new Promise((resolve) => {
      let opened = false;
      let started = false;
      const timer = window.setTimeout(() => resolve({ failure: new CallFailure('no_answer') }), timeoutMs);
      socket.onopen = () => {
        opened = true;
        this.#keepAlive();
      };
      socket.onmessage = ({ data }) => {
        const message = typeof data === 'string' ? parseServerMessage(data) : null;
        if (message?.type === 'session_started') {
          window.clearTimeout(timer);
          // A gateway that knows no resuming has begun another session: this call cannot go on.
          if (this.#resumeToken && !message.resumed) return resolve({ failure: new CallFailure('refused') });
          started = true;
          this.#resumeToken = message.resume_token ?? '';
          resolve(null);
        }
        if (message?.type === 'pong') this.#receivePong();
        else if (message) this.#listener.onMessage(message);
        else if (typeof data !== 'string') this.#listener.onAudio(data);
      };
      socket.onclose = async ({ code }) => {
        window.clearTimeout(timer);
        if (!opened) resolve({ failure: await learnWhyRefused(this.#url, protocols.length > 1) });
        else if (!started) resolve(endingOf(code));
        else if (code === BROKEN) this.#lose();
        else this.#end(endingOf(code).failure);
      };
    });
  }

  /** Forgets the socket, so that it tells nothing more. @returns {WebSocket | null} */
  #letGo() {
    window.clearInterval(this.#pingTimer);
    const socket = this.#socket;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    this.#socket = null;
    return socket;
  }

  // ---------------------------------------------------------------------------------------------- return

  #lose() {
    if (!this.#resumeToken) return this.#end(new CallFailure('connection_lost'));
    // It stays as it is until we are back: a close frame that arrived after all would be a hang-up.
    this.#brokenSocket = this.#letGo();
    this.#listener.onLost();
    void this.#return();
  }

  async #return() {
    const lost = new CallFailure('connection_lost');
    this.#returnTimer = window.setTimeout(() => this.#end(lost), RETURN_WITHIN_MS);
    for (const milliseconds of RETURN_PAUSES_MS) {
      await pause(milliseconds * (1 + RETURN_SPREAD * Math.random()));
      if (this.#over) return;
      const ending = await this.#openSession([SUBPROTOCOL, `resume.${this.#resumeToken}`], RETURN_TRY_TIMEOUT_MS);
      if (this.#over) return;
      if (!ending) return this.#haveReturned();
      this.#letGo()?.close();
      if (ending.failure?.code === 'refused') break; // the gateway is there, and does not know the token
      if (!ending.failure || !PASSING.includes(ending.failure.code)) return this.#end(ending.failure);
    }
    this.#end(lost);
  }

  #haveReturned() {
    window.clearTimeout(this.#returnTimer);
    this.#brokenSocket?.close();
    this.#brokenSocket = null;
  }

  // ------------------------------------------------------------------------------------------ keep alive

  #keepAlive() {
    this.#pingSentAt = 0;
    this.#pingTimer = window.setInterval(() => this.#ping(), PING_INTERVAL_MS);
    this.#ping();
  }

  /** Notices a connection that is dead without saying so. */
  #ping() {
    const now = performance.now();
    if (this.#pingSentAt && now - this.#pingSentAt > PONG_TIMEOUT_MS) return this.#lose();
    if (this.#pingSentAt) return;
    this.#pingSentAt = now;
    this.send({ type: 'ping' });
  }

  #receivePong() {
    if (!this.#pingSentAt) return;
    this.#listener.onRoundTrip(performance.now() - this.#pingSentAt);
    this.#pingSentAt = 0;
  }
}
