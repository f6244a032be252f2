import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TurnTimer } from '../../../app/web/client/turn-timer.js';

test('the wait runs from the last sound of the caller to the first of the agent, and its parts add up', () => {
  const timer = new TurnTimer();
  timer.callerStarted();
  for (let now = 0; now <= 1000; now += 20) timer.callerHeard(0.2, now);
  for (let now = 1020; now <= 1500; now += 20) timer.callerHeard(0.004, now);
  timer.callerStopped(1500);
  timer.callerHeard(0.2, 1520); // an echo of the agent, say
  timer.agentArrived(1800);
  timer.agentArrived(1900);
  assert.deepEqual(timer.agentHeard(1850), { totalMs: 850, silenceMs: 500, answerMs: 300, playoutMs: 50 });
});

test('a greeting is no answer', () => {
  const timer = new TurnTimer();
  timer.callerHeard(0.2, 10);
  timer.agentArrived(20);
  assert.equal(timer.agentHeard(30), null);
});

test('what was typed is answered without a pause', () => {
  const timer = new TurnTimer();
  timer.callerStopped(100);
  timer.agentArrived(400);
  assert.deepEqual(timer.agentHeard(450), { totalMs: 350, silenceMs: 0, answerMs: 300, playoutMs: 50 });
});

test('one turn is measured once', () => {
  const timer = new TurnTimer();
  timer.callerStopped(100);
  timer.agentArrived(400);
  timer.agentHeard(450);
  timer.agentArrived(500);
  assert.equal(timer.agentHeard(550), null);
});
