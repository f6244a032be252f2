/**
 * What was said in a call, from the gateway's messages: captions that grow, and each final text once.
 *
 * After a lost connection the gateway tells again what may not have arrived. Pure.
 */

/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./call-events.js').Speaker} Speaker */
/** @typedef {import('./call-events.js').Transcript} Transcript */

/**
 * @param {string} known @param {string} more may begin with words that are known
 * @returns {string} both, with what they share only once
 */
export function joined(known, more) {
  if (known.includes(more)) return known;
  let shared = Math.min(known.length, more.length);
  while (!known.endsWith(more.slice(0, shared))) shared--;
  return known + more.slice(shared);
}

export class Transcripts {
  /** `known` came before the last lost connection, `more` since. */
  #captions = { user: { id: '', known: '', more: '' }, agent: { id: '', known: '', more: '' } };
  /** @type {Set<string>} */ #told = new Set();

  /** The connection is back: the last words of a caption may come again. */
  resume() {
    for (const caption of Object.values(this.#captions)) {
      caption.known = joined(caption.known, caption.more);
      caption.more = '';
    }
  }

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
        return this.#caption('agent', message.response_id ?? speaking, message.text);
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
    if (id && this.#told.has(`${speaker} ${id}`)) return null;
    this.#told.add(`${speaker} ${id}`);
    return { speaker, id, text, final: true, spoken: true, interrupted: false, ...more };
  }

  /** @param {Speaker} speaker @param {string} id @param {string} delta @returns {Transcript | null} */
  #caption(speaker, id, delta) {
    if (id && this.#told.has(`${speaker} ${id}`)) return null;
    const caption = this.#captions[speaker];
    if (caption.id !== id) Object.assign(caption, { id, known: '', more: '' });
    caption.more += delta;
    const text = joined(caption.known, caption.more);
    return { speaker, id, text, final: false, spoken: true, interrupted: false };
  }
}
