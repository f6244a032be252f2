/**
 * What was said in a call, from the gateway's messages: captions that grow, and each final text once.
 *
 * After a lost connection the gateway tells again what may not have arrived. Pure.
 */

/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./call-events.js').Speaker} Speaker */
/** @typedef {import('./call-events.js').Transcript} Transcript */

export class Transcripts {
  /** What is not final yet: its words so far, and the index of the caption that comes next. */
  #captions = /** @type {Map<string, {text: string, next: number}>} */ (new Map());
  /** @type {Set<string>} */ #told = new Set();

  /**
   * @param {Extract<ServerMessage, {text: string}>} message
   * @param {string} speaking the response that sounds, for captions that name none
   * @returns {Transcript | null} null for what was told before
   */
  receive(message, speaking) {
    switch (message.type) {
      case 'user_transcript_delta':
        return this.#caption('user', message.item_id ?? '', message.text);
      case 'agent_transcript_delta':
        return this.#caption('agent', message.response_id ?? speaking, message.text, message.index);
      case 'user_transcript':
        return this.#final('user', message.item_id, message.text);
      case 'agent_text':
        return this.#final('agent', message.response_id, message.text, { spoken: false });
      case 'agent_transcript':
        return this.#final('agent', message.response_id, message.text, {
          interrupted: message.interrupted ?? false,
          heardText: message.heard_text,
        });
    }
  }

  /** @param {Speaker} speaker @param {string} [id] @param {string} [text] @param {Partial<Transcript>} [more] */
  #final(speaker, id = '', text = '', more = {}) {
    const key = `${speaker} ${id}`;
    this.#captions.delete(key);
    if (id && this.#told.has(key)) return null;
    this.#told.add(key);
    return { speaker, id, text, final: true, spoken: true, interrupted: false, ...more };
  }

  /** @param {Speaker} speaker @param {string} id @param {string} delta @param {number} [index] @returns {Transcript | null} */
  #caption(speaker, id, delta, index) {
    const key = `${speaker} ${id}`;
    if (id && this.#told.has(key)) return null;
    const { text, next } = this.#captions.get(key) ?? { text: '', next: 0 };
    if (index != null && index < next) return null;
    const caption = { text: text + delta, next: index == null ? next : index + 1 };
    this.#captions.set(key, caption);
    return { speaker, id, text: caption.text, final: false, spoken: true, interrupted: false };
  }
}
