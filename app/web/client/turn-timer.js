/** How long the caller waited for an answer, and for what. Pure: times are milliseconds of any one clock. */

// A frame counts as speech while it is above the noise of a quiet room and not far below the loudest one of
// the turn.
const MIN_SPEECH_LEVEL = 0.01;
const SPEECH_BELOW_PEAK = 0.1;

/**
 * The wait from the caller's last sound to the agent's first, and its parts, which add up to it.
 *
 * @typedef {object} Latency
 * @property {number} totalMs
 * @property {number} silenceMs until the gateway was sure that the caller had finished
 * @property {number} answerMs until the first audio of the answer arrived here
 * @property {number} playoutMs until it sounded
 */

export class TurnTimer {
  #peak = 0;
  #lastSpeechAt = 0;
  #stoppedAt = 0;
  #arrivedAt = 0;

  /** @param {number} level of a microphone frame, 0 to 1 @param {number} now */
  callerHeard(level, now) {
    if (this.#stoppedAt) return;
    this.#peak = Math.max(this.#peak, level);
    if (level > Math.max(MIN_SPEECH_LEVEL, this.#peak * SPEECH_BELOW_PEAK)) this.#lastSpeechAt = now;
  }

  /** The gateway has noticed the end of the turn, or the caller has typed. @param {number} now */
  callerStopped(now) {
    this.#stoppedAt = now;
    this.#arrivedAt = 0;
  }

  /** The caller speaks again: there is nothing to wait for. */
  callerStarted() {
    this.#peak = 0;
    this.#lastSpeechAt = 0;
    this.#stoppedAt = 0;
    this.#arrivedAt = 0;
  }

  /** Audio of the agent has arrived. @param {number} now */
  agentArrived(now) {
    this.#arrivedAt ||= this.#stoppedAt && now;
  }

  /** A response begins to sound. @param {number} now @returns {Latency | null} null when nobody waited for it */
  agentHeard(now) {
    const [stopped, arrived] = [this.#stoppedAt, this.#arrivedAt];
    const spoke = this.#lastSpeechAt || stopped;
    this.callerStarted();
    if (!stopped || !arrived) return null;
    return { totalMs: now - spoke, silenceMs: stopped - spoke, answerMs: arrived - stopped, playoutMs: now - arrived };
  }
}
