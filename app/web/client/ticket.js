/** A ticket for one call, from whomever the page asks. A page can show it among the subprotocols alone. */

import { CallFailure } from './failures.js';

const TICKET_TIMEOUT_MS = 10_000;
const TICKET = /^[\w-]+$/; // anything else is no name of a subprotocol

/** Gives a ticket for one call; it is good for some seconds only. @typedef {() => string | Promise<string>} GetTicket */

/**
 * @param {GetTicket} getTicket
 * @returns {Promise<string>} the subprotocol that shows the ticket
 * @throws {CallFailure} when there is none
 */
export async function ticketProtocol(getTicket) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('getTicket took too long')), TICKET_TIMEOUT_MS);
  });
  try {
    const ticket = await Promise.race([getTicket(), late]);
    if (typeof ticket !== 'string' || !TICKET.test(ticket)) throw new Error('getTicket gave no ticket');
    return `ticket.${ticket}`;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new CallFailure('unauthorized', { message });
  } finally {
    clearTimeout(timer);
  }
}
