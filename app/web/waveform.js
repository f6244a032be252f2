/** Who speaks, and how loud: the last seconds of both voices, the agent above the line, the caller below. */

const BAR_MS = 70;
const BAR_WIDTH = 3;
const BAR_STEP = 6;
// The range of levels that fills a bar: a quiet room to a loud voice, as decibels.
const FLOOR_DB = -52;
const CEILING_DB = -14;

/** @typedef {import('./client/call-events.js').Speaker} Speaker */

/** @param {number} level root mean square @returns {number} height, 0 to 1 */
function heightOf(level) {
  const decibels = 20 * Math.log10(Math.max(level, 1e-6));
  return Math.max(0, Math.min(1, (decibels - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
}

export class Waveform {
  /** @param {HTMLCanvasElement} canvas its colours are the custom properties --agent, --user and --line */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  #canvas;
  #drawing;
  /** @type {Record<Speaker, number>[]} */ #bars = [];
  /** @type {Record<Speaker, number>} */ #loudest = { user: 0, agent: 0 };
  #timer = 0;

  /** @param {Speaker} speaker @param {number} level 0 to 1 */
  hear(speaker, level) {
    this.#loudest[speaker] = Math.max(this.#loudest[speaker], heightOf(level));
  }

  /** Moves on in time until `stop`. */
  start() {
    this.#bars = [];
    // People who asked for little motion see the same picture, renewed now and then.
    const step = matchMedia('(prefers-reduced-motion: reduce)').matches ? 10 : 1;
    let ticks = 0;
    this.#timer = window.setInterval(() => {
      this.#bars.push(this.#loudest);
      this.#loudest = { user: 0, agent: 0 };
      if (++ticks % step === 0) this.draw();
    }, BAR_MS);
  }

  /** Keeps what was drawn last. */
  stop() {
    window.clearInterval(this.#timer);
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return; // not shown
    const scale = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#drawing.scale(scale, scale);
    const style = getComputedStyle(this.#canvas);
    const colours = { agent: style.getPropertyValue('--agent'), user: style.getPropertyValue('--user') };
    const middle = height / 2;
    const count = Math.floor(width / BAR_STEP);
    this.#bars = this.#bars.slice(-count);
    for (let i = 0; i < count; i++) {
      const bar = this.#bars[this.#bars.length - count + i];
      const x = width - (count - i) * BAR_STEP;
      this.#drawBar(x, middle - 2, -(bar?.agent ?? 0) * (middle - 4), bar?.agent ? colours.agent : '');
      this.#drawBar(x, middle + 2, (bar?.user ?? 0) * (middle - 4), bar?.user ? colours.user : '');
    }
    this.#drawing.fillStyle = style.getPropertyValue('--line');
    this.#drawing.fillRect(0, middle - 0.5, width, 1);
  }

  /** @param {number} x @param {number} y @param {number} height @param {string} colour '' for none */
  #drawBar(x, y, height, colour) {
    if (!colour) return;
    this.#drawing.fillStyle = colour;
    this.#drawing.beginPath();
    this.#drawing.roundRect(x, y, BAR_WIDTH, height, BAR_WIDTH / 2);
    this.#drawing.fill();
  }
}
