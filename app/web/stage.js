/**
 * What the page says about the call, apart from its words: headline, facts, buttons.
 *
 * Draws a `Phase` and nothing else: it knows no call and keeps no state but the elements.
 */

import { hasText, text } from './texts.js';

/** @typedef {import('./client/failures.js').CallFailure} CallFailure */
/** @typedef {import('./texts.js').TextKey} TextKey */

/**
 * Where the visitor is. While a call is live, the phase is the gateway's status. `returning`: the call was cut
 * off, and another one begins as soon as the gateway takes it.
 *
 * @typedef {'idle' | 'microphone' | 'connecting' | 'ready' | 'listening' | 'processing' | 'agent_speaking'
 *   | 'reconnecting' | 'returning' | 'ending' | 'ended' | 'failed'} Phase
 */

/** Codes with which a call comes to a good end. */
const ORDERLY = ['idle_timeout', 'session_expired'];
const LIVE = ['ready', 'listening', 'processing', 'agent_speaking', 'reconnecting'];
const CALLING = ['microphone', 'connecting', 'returning'];

/** @template {HTMLElement} [Kind=HTMLElement] @param {string} id @returns {Kind} */
export const find = (id) => /** @type {Kind} */ (document.getElementById(id));

/** @param {number} milliseconds @returns {string} 1:23 */
export function clock(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** @param {number} milliseconds @returns {string} 0.8 in the visitor's language */
export const inSeconds = (milliseconds) =>
  (milliseconds / 1000).toLocaleString(document.documentElement.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** Puts the words of the chosen language into the elements that name one. */
export function translate() {
  for (const element of document.querySelectorAll('[data-text], [data-label], [data-placeholder]')) {
    const { text: content, label, placeholder } = /** @type {HTMLElement} */ (element).dataset;
    if (content) element.textContent = text(/** @type {TextKey} */ (content));
    if (label) element.setAttribute('aria-label', text(/** @type {TextKey} */ (label)));
    if (placeholder) element.setAttribute('placeholder', text(/** @type {TextKey} */ (placeholder)));
  }
}

/** @param {string} id @param {string} content '' hides the element */
function put(id, content) {
  find(id).textContent = content;
  find(id).hidden = content === '';
}

/** Said by screen readers, once. @param {string} sentence */
export function announce(sentence) {
  find('announcement').textContent = sentence;
}

/**
 * @typedef {object} View
 * @property {Phase} phase
 * @property {boolean} muted
 * @property {boolean} holdToTalk push-to-talk is on
 * @property {boolean} needsTicket the next call needs one
 * @property {CallFailure | null} failure why there is no call, or no longer one
 * @property {number} durationMs
 */

/** @param {View} view */
export function showPhase(view) {
  const { phase, muted, holdToTalk, needsTicket, failure } = view;
  const live = LIVE.includes(phase);
  const calling = CALLING.includes(phase);
  const failed = phase === 'failed' && failure;
  const shown = failed && ORDERLY.includes(failed.code) ? 'ended' : phase;
  document.body.dataset.phase = shown;
  document.body.classList.toggle('live', live);
  document.body.classList.toggle('muted', live && muted);

  const [headline, explanation] = failed ? wordsOf(failed) : wordsOfPhase(view);
  if (find('headline').textContent !== headline) find('headline').textContent = headline;
  put('explanation', explanation);
  put('detail', failed ? detailsOf(failed) : '');

  find('start').hidden = live || calling || phase === 'ending';
  find('ticket-field').hidden = !needsTicket || Boolean(find('start').hidden);
  find('start').textContent = text(phase === 'idle' ? 'start' : phase === 'failed' && shown !== 'ended' ? 'retry' : 'again');
  find('interrupt').hidden = find('composer').hidden = !live;
  find('mute').hidden = !live || holdToTalk;
  find('talk').hidden = !live || !holdToTalk;
  find('mute').setAttribute('aria-pressed', String(muted));
  find('mute-label').textContent = text(muted ? 'unmute' : 'mute');
  find('talk').setAttribute('aria-pressed', String(!muted));
  find('talk-label').textContent = text(muted ? 'hold' : 'holding');
  find('interrupt').toggleAttribute('disabled', phase !== 'agent_speaking');
  for (const id of ['typed', 'send']) find(id).toggleAttribute('disabled', phase === 'reconnecting');
  find('end').hidden = !live && !calling;
  find('end-label').textContent = text(calling ? 'cancel' : 'end');
}

/** @param {View} view @returns {[string, string]} */
function wordsOfPhase({ phase, muted, holdToTalk, failure, durationMs }) {
  if (phase === 'failed') return ['', '']; // a failed call has a failure, whose words are shown
  const why = failure ? wordsOf(failure)[0] : '';
  const explanation = explanationOf(phase, muted, holdToTalk);
  return [text(`${phase}.headline`), text(explanation, { duration: clock(durationMs), why })];
}

/** @param {Exclude<Phase, 'failed'>} phase @param {boolean} muted @param {boolean} holdToTalk @returns {TextKey} */
function explanationOf(phase, muted, holdToTalk) {
  if (!muted || !LIVE.includes(phase) || phase === 'reconnecting') return `${phase}.explanation`;
  return holdToTalk ? 'hold.explanation' : 'muted.explanation';
}

/** @param {CallFailure} failure @returns {[string, string]} */
function wordsOf({ code, message }) {
  const title = `failure.${code}.title`;
  const sentence = `failure.${code}.text`;
  // A code that a newer gateway invented comes with a sentence of its own.
  return hasText(title) && hasText(sentence) ? [text(title), text(sentence)] : [text('failure.internal.title'), message];
}

/** @param {CallFailure} failure */
function detailsOf({ retryAfterMs = 0, ref }) {
  const wait = retryAfterMs >= 2000 ? text('retry.after', { seconds: Math.round(retryAfterMs / 1000) }) : '';
  return [wait, ref ? text('reference', { ref }) : ''].filter(Boolean).join(' ');
}

/** Something that the call survives. @param {CallFailure | string} problem '' takes it away */
export function showProblem(problem) {
  put('problem', typeof problem === 'string' ? problem : wordsOf(problem).join('. '));
}

/** @param {MediaDeviceInfo[]} devices all microphones, nameless until one was allowed @param {string} chosen */
export function showDevices(devices, chosen) {
  const named = devices.filter(({ deviceId }) => deviceId);
  const options = named.map(({ deviceId, label }, number) => {
    const name = label || text('microphone.unnamed', { number: number + 1 });
    return new Option(name, deviceId, false, deviceId === chosen);
  });
  if (!devices.length) options.push(new Option(text('microphone.none'), ''));
  else if (!named.some(({ deviceId }) => deviceId === chosen)) options.unshift(new Option(text('microphone.default'), '', true, true));
  find('device').replaceChildren(...options);
  find('device').toggleAttribute('disabled', !devices.length);
}
