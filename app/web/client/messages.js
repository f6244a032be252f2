/** What travels on `/ws/voice`, version 1, as the client sees it. The contract is in docs/protocol.md. */

export const SUBPROTOCOL = 'voice-live.v1';

/** What the call is doing now. @typedef {'listening' | 'processing' | 'agent_speaking' | 'ready'} Status */

/**
 * @typedef {{type: 'session_started', session_id: string, max_duration_s?: number, resume_token?: string,
 *      resumed?: boolean}
 *   | {type: 'user_transcript' | 'user_transcript_delta', text: string, item_id?: string}
 *   | {type: 'agent_transcript', text: string, response_id?: string, interrupted?: boolean, heard_text?: string,
 *      heard_estimated?: boolean}
 *   | {type: 'agent_transcript_delta', text: string, response_id?: string, index?: number}
 *   | {type: 'agent_text', text: string, response_id?: string}
 *   | {type: 'status', status: Status, response_id?: string}
 *   | {type: 'error', message: string, code?: string, fatal?: boolean, retryable?: boolean,
 *      retry_after_ms?: number, ref?: string}
 *   | {type: 'pong'}
 *   | {type: 'agent_audio_end', response_id: string, total_ms: number}
 *   | {type: 'clear_playback' | 'hold_playback' | 'resume_playback', response_id: string}
 *   | {type: 'session_ending', reason: string, seconds_left: number}
 *   | {type: 'session_ended', reason: string}} ServerMessage
 */

/**
 * @typedef {{type: 'ping' | 'barge_in' | 'end'}
 *   | {type: 'playback', response_id: string, played_ms: number}
 *   | {type: 'text', text: string}} ClientMessage
 */

const STATUSES = ['listening', 'processing', 'agent_speaking', 'ready'];

/** Fields that must be strings: always, and where they are present. @type {Record<string, string[]>} */
const REQUIRED = {
  user_transcript: ['text'],
  user_transcript_delta: ['text'],
  agent_transcript: ['text'],
  agent_transcript_delta: ['text'],
  agent_text: ['text'],
  agent_audio_end: ['response_id'],
  clear_playback: ['response_id'],
  hold_playback: ['response_id'],
  resume_playback: ['response_id'],
};
const OPTIONAL = ['heard_text', 'message', 'code', 'ref', 'reason', 'response_id', 'item_id', 'resume_token'];

/**
 * @param {string} text one text frame
 * @returns {ServerMessage | null} null for what is not a message of the contract; clients ignore it
 */
export function parseServerMessage(text) {
  /** @type {any} */ let message;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof message?.type !== 'string') return null;
  if (message.type === 'status' && !STATUSES.includes(message.status)) return null;
  const isString = (/** @type {string} */ name) => typeof message[name] === 'string';
  const complete = (REQUIRED[message.type] ?? []).every(isString);
  if (message.index != null && typeof message.index !== 'number') return null;
  return complete && OPTIONAL.every((name) => message[name] == null || isString(name)) ? message : null;
}
