/**
 * Push-to-talk: the caller is heard only while they hold the button, or the space bar.
 *
 * Knows no call: it tells when the caller begins and ends to talk.
 */

/** Elements that have a use of their own for the space bar. */
const TAKES_SPACE = 'input, select, button, summary, a';

export class PushToTalk {
  /** @param {HTMLElement} button is held @param {(talking: boolean) => void} onTalk */
  constructor(button, onTalk) {
    this.#button = button;
    this.#onTalk = onTalk;
    button.onpointerdown = (event) => event.button === 0 && this.#talk(true);
    // A finger may slide off the button; it is the lifting that counts.
    for (const type of ['pointerup', 'pointercancel', 'blur']) window.addEventListener(type, () => this.#talk(false));
    document.addEventListener('visibilitychange', () => this.#talk(false));
    button.oncontextmenu = (event) => event.preventDefault(); // a long press on a touch screen
    document.addEventListener('keydown', (event) => this.#onKey(event, true));
    document.addEventListener('keyup', (event) => this.#onKey(event, false));
  }

  #button;
  #onTalk;
  #enabled = false;
  #talking = false;

  get enabled() {
    return this.#enabled;
  }

  get talking() {
    return this.#talking;
  }

  /** Keys and presses count only while this is true. @param {boolean} enabled */
  set enabled(enabled) {
    this.#talk(false);
    this.#enabled = enabled;
  }

  /** @param {KeyboardEvent} event @param {boolean} pressed */
  #onKey(event, pressed) {
    const target = /** @type {Element} */ (event.target);
    const holds = event.key === ' ' || (event.key === 'Enter' && target === this.#button);
    if (!this.#enabled || !holds || (target !== this.#button && target.closest(TAKES_SPACE))) return;
    event.preventDefault(); // neither a click nor a scroll
    if (!event.repeat) this.#talk(pressed);
  }

  /** @param {boolean} talking */
  #talk(talking) {
    if (!this.#enabled || talking === this.#talking) return;
    this.#talking = talking;
    this.#onTalk(talking);
  }
}
