/**
 * What was said, turn by turn. Captions grow as they come; what the caller cut off is struck through.
 *
 * Every word from the gateway goes in as text, never as markup.
 */

import { text } from './texts.js';

/** @typedef {import('./client/call-events.js').Transcript} Transcript */
/** @typedef {import('./client/call-events.js').Speaker} Speaker */

const MAX_SHOWN_CHARACTERS = 20_000; // more is no speech, and would stall the page

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {string} className @param {string} [content]
 */
function element(tag, className, content = '') {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = content.slice(0, MAX_SHOWN_CHARACTERS);
  return made;
}

/**
 * @param {string} whole what the agent meant to say @param {string} heard its beginning, perhaps spelled otherwise
 * @returns {string} what is left of `whole`
 */
export function unheardPart(whole, heard) {
  if (whole.startsWith(heard)) return whole.slice(heard.length);
  const words = (/** @type {string} */ spoken) => spoken.trim().split(/(?<=\s)(?=\S)/);
  return words(whole).slice(words(heard).length).join('');
}

class Turn {
  /** @param {Speaker} speaker @param {string} id */
  constructor(speaker, id) {
    this.speaker = speaker;
    this.id = id;
    this.final = false;
    this.item = element('li', `turn ${speaker}`);
    this.#words = element('p', 'words');
    this.#words.dir = 'auto';
    this.item.append(element('p', 'speaker', text(speaker === 'user' ? 'you' : 'agent')), this.#words);
  }

  #words;

  get isEmpty() {
    return this.#words.textContent === '' || this.item.classList.contains('hearing');
  }

  /** The caller has begun to speak; there are no words yet. */
  showHearing() {
    this.item.classList.add('hearing');
    const dots = element('span', 'dots');
    dots.append(element('span', 'visually-hidden', text('turn.hearing')));
    this.#words.replaceChildren(dots);
  }

  /** @param {Transcript} transcript */
  show({ text: words, final, interrupted, heardText }) {
    this.final ||= final;
    this.item.classList.remove('hearing');
    this.item.classList.toggle('caption', !final);
    if (!interrupted) return this.#words.replaceChildren(words.slice(0, MAX_SHOWN_CHARACTERS));
    const heard = heardText ?? words;
    const unheard = unheardPart(words, heard).trim();
    this.#words.replaceChildren(heard.trimEnd().slice(0, MAX_SHOWN_CHARACTERS));
    if (unheard) {
      // Screen readers do not say that a text is struck through.
      this.#words.append(' ', element('span', 'visually-hidden', text('turn.unheard')), element('s', 'unheard', unheard));
    }
    this.annotate(text(unheard ? 'turn.interrupted' : 'turn.cut'));
  }

  /** @param {string} note */
  annotate(note) {
    this.item.append(element('p', 'note', note));
  }
}

export class Conversation {
  /** @param {HTMLElement} log scrolls @param {HTMLElement} list holds the turns */
  constructor(log, list) {
    this.#list = list;
    log.onscroll = () => {
      this.#following = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    };
    const follow = () => this.#following && log.scrollTo(0, log.scrollHeight);
    const resized = new ResizeObserver(follow);
    resized.observe(log);
    resized.observe(list);
  }

  #list;
  #following = true; // what is new stays in view, unless the reader has scrolled back
  /** @type {Turn[]} */ #turns = [];

  clear() {
    this.#turns = [];
    this.#following = true;
    this.#list.replaceChildren();
  }

  /** A line between the turns, for what happened to the call. @param {string} sentence */
  mark(sentence) {
    this.#list.append(element('li', 'mark', sentence));
  }

  /** Another call begins under the words of the one before. */
  close() {
    this.callerSaidNothing();
    this.#turns = [];
  }

  /** The caller has begun to speak: keeps the place, so that the turns stand in the order in which they began. */
  callerStarted() {
    const last = this.#turns.at(-1);
    if (last?.speaker === 'user' && last.isEmpty) return;
    this.#add('user', '').showHearing();
  }

  /** The agent has begun to speak. @param {string} responseId */
  agentStarted(responseId) {
    const known = responseId && this.#turns.some((turn) => turn.speaker === 'agent' && turn.id === responseId);
    if (!known) this.#add('agent', responseId);
  }

  /** Nobody speaks: a turn without words was a noise. */
  callerSaidNothing() {
    const empty = this.#turns.find((turn) => turn.speaker === 'user' && turn.isEmpty);
    if (!empty) return;
    empty.item.remove();
    this.#turns = this.#turns.filter((turn) => turn !== empty);
  }

  /** @param {Transcript} transcript */
  show(transcript) {
    const turn = this.#turnOf(transcript);
    turn.id ||= transcript.id;
    turn.show(transcript);
  }

  /** @param {string} responseId @param {string} note */
  annotate(responseId, note) {
    this.#turns.findLast(({ speaker, id }) => speaker === 'agent' && id === responseId)?.annotate(note);
  }

  /** @param {Transcript} transcript */
  #turnOf({ speaker, id }) {
    const open = this.#turns.filter((turn) => turn.speaker === speaker && !turn.final);
    const match = (id && open.find((turn) => turn.id === id)) || open.find((turn) => !turn.id || !id);
    return match || this.#add(speaker, id);
  }

  /** @param {Speaker} speaker @param {string} id */
  #add(speaker, id) {
    const turn = new Turn(speaker, id);
    this.#turns.push(turn);
    this.#list.append(turn.item);
    return turn;
  }
}
