/** What a call tells those who listen. Types alone: nothing here runs. */

/**
 * `microphone`: the browser asks the caller for it. `connecting`: the gateway prepares the session.
 * `reconnecting`: the connection broke, and the call is being taken up again; nobody hears the other. `ending`:
 * the gateway was told that the caller hangs up.
 * @typedef {'idle' | 'microphone' | 'connecting' | 'live' | 'reconnecting' | 'ending' | 'ended'} CallState
 */

/** @typedef {'user' | 'agent'} Speaker */

/**
 * Words of one turn. Until `final`, `text` is a caption that grows; `id` stays the same.
 *
 * @typedef {object} Transcript
 * @property {Speaker} speaker
 * @property {string} id of the turn or response; '' where the gateway gives none
 * @property {string} text all of it so far
 * @property {boolean} final
 * @property {boolean} spoken false for what was typed, and for an answer without sound
 * @property {boolean} interrupted the caller cut it off; `heardText` is what had been heard
 * @property {string} [heardText]
 */

/**
 * What `on` can listen to, and what its listener gets.
 *
 * @typedef {object} CallEvents
 * @property {{state: CallState}} state
 * @property {{status: import('./messages.js').Status, responseId?: string}} status what a live call is doing now
 * @property {Transcript} transcript
 * @property {{responseId: string}} interrupted the agent's voice was stopped
 * @property {{speaker: Speaker, level: number}} level how loud, 0 to 1; many times a second
 * @property {{responseId: string} & import('./turn-timer.js').Latency} latency an answer has begun to sound
 * @property {{roundTripMs: number}} quality every 5 s
 * @property {{responseId: string}} underrun audio came too late, so there was a gap
 * @property {{deviceId: string}} microphone the one in use was lost, and this one took its place
 * @property {{failure: import('./failures.js').CallFailure}} problem something failed, and the call goes on
 * @property {{reason: string, secondsLeft: number}} ending the gateway will end the call
 * @property {{reason: string, failure: import('./failures.js').CallFailure | null}} ended always the last event, and exactly one
 */

export {};
