/** Why a call can fail: the gateway's catalogue of codes, and what only the browser sees. */

import { askReady } from './readiness.js';

/** Codes of the gateway (`error` messages, HTTP refusals). */
export const GATEWAY_CODES = /** @type {const} */ ([
  'message_too_big',
  'internal',
  'server_draining',
  'capacity',
  'upstream_busy',
  'upstream_lost',
  'upstream_protocol',
  'bad_request',
  'unauthorized',
  'forbidden',
  'agent_silent',
  'idle_timeout',
  'slow_consumer',
  'session_expired',
  'rate_limited',
  'upstream_auth',
  'upstream_config',
  'auth_unavailable',
  'storage_unavailable',
]);

/** What the client finds out by itself. */
export const CLIENT_CODES = /** @type {const} */ ([
  'microphone_insecure', // the page is neither https nor localhost
  'microphone_denied',
  'microphone_missing',
  'microphone_busy',
  'microphone_lost', // it went away during the call, and no other could be had
  'unreachable', // no server answers
  'not_ready', // it answers that it takes no calls now
  'refused', // it takes calls, but not this one; a browser cannot read why
  'no_answer', // the connection opened, the session did not
  'connection_lost', // the connection broke during the call, and the call could not be taken up again
]);

/** Close codes of the contract that came without an `error` message before them. @type {Record<number, string>} */
const CODE_OF_CLOSE = {
  1007: 'bad_request',
  1009: 'message_too_big',
  1011: 'internal',
  1012: 'server_draining',
  1013: 'capacity',
  1014: 'upstream_lost',
  4400: 'bad_request',
  4401: 'unauthorized',
  4403: 'forbidden',
  4408: 'idle_timeout',
  4410: 'session_expired',
  4429: 'rate_limited',
  4502: 'upstream_auth',
  4503: 'auth_unavailable',
};

/** @param {number} closeCode of a connection that was open @returns {string} */
export const codeOfClose = (closeCode) => CODE_OF_CLOSE[closeCode] ?? 'connection_lost';

/** A reason why there is no call, or no longer one. */
export class CallFailure extends Error {
  /**
   * @param {string} code one of GATEWAY_CODES or CLIENT_CODES; a newer gateway may send others
   * @param {object} [more]
   * @param {string} [more.message] the gateway's own words
   * @param {boolean} [more.retryable] whether the same call may work if tried again
   * @param {number} [more.retryAfterMs]
   * @param {string} [more.ref] finds the gateway's log line
   */
  constructor(code, { message = code, retryable = true, retryAfterMs, ref } = {}) {
    super(message);
    this.name = 'CallFailure';
    /** @readonly */ this.code = code;
    /** @readonly */ this.retryable = retryable;
    /** @readonly */ this.retryAfterMs = retryAfterMs;
    /** @readonly */ this.ref = ref;
  }
}

/**
 * What became of a connection that was never opened. Browsers do not show the status of a refused upgrade,
 * so the gateway is asked whether it takes calls.
 *
 * @param {URL} callUrl
 * @param {boolean} showedPermission a ticket, or the token of a lost call
 * @returns {Promise<CallFailure>}
 */
export async function learnWhyRefused(callUrl, showedPermission) {
  const { readiness, ticketRequired } = await askReady(callUrl);
  if (readiness === 'ready' && ticketRequired && !showedPermission) return new CallFailure('unauthorized');
  return new CallFailure({ ready: 'refused', draining: 'server_draining' }[/** @type {string} */ (readiness)] ?? readiness);
}
