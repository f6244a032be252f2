/** Whether the gateway takes calls, from its `/ready`: browsers do not show why an upgrade was refused. */

const ANSWER_TIMEOUT_MS = 3_000;
const ASK_AGAIN_MS = 1_000;

/** @typedef {'ready' | 'draining' | 'not_ready' | 'unreachable'} Readiness */

/** @param {number} milliseconds @param {AbortSignal} [signal] ends the pause @returns {Promise<void>} */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => resolve());
  });
}

/** What the gateway says of itself. @typedef {{readiness: Readiness, ticketRequired: boolean}} Answer */

/** @param {URL} callUrl @param {AbortSignal} [signal] ends the wait @returns {Promise<Answer>} */
export async function askReady(callUrl, signal) {
  const readyUrl = new URL('/ready', callUrl);
  readyUrl.protocol = callUrl.protocol.replace('ws', 'http');
  const limit = AbortSignal.any([AbortSignal.timeout(ANSWER_TIMEOUT_MS), ...(signal ? [signal] : [])]);
  try {
    const response = await fetch(readyUrl, { cache: 'no-store', signal: limit });
    const answer = await response.json().catch(() => null);
    const readiness = response.ok ? 'ready' : answer?.status === 'draining' ? 'draining' : 'not_ready';
    return { readiness, ticketRequired: answer?.ticket_required === true };
  } catch {
    return { readiness: 'unreachable', ticketRequired: false };
  }
}

/**
 * @param {URL} callUrl
 * @param {number} withinMs
 * @param {AbortSignal} [signal] ends the wait
 * @returns {Promise<boolean>} false when the time has passed first, or the wait was ended
 */
export async function untilReady(callUrl, withinMs, signal) {
  const until = performance.now() + withinMs;
  while (!signal?.aborted && performance.now() < until) {
    if ((await askReady(callUrl, signal)).readiness === 'ready') return !signal?.aborted;
    await pause(ASK_AGAIN_MS, signal);
  }
  return false;
}
