import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { PlayoutBuffer } from '../../../app/web/client/playout-buffer.js';
import { largestStep, pcm16, randomNumbers, signalToNoiseDb, sine } from './signals.js';

const QUANTUM = 128;
// A sine of 440 Hz at half scale moves by 0.029 between two samples at 48 kHz; a fade of 10 ms adds 0.001.
const SMOOTH = 0.032;

/** A loudspeaker: takes quanta from a buffer and keeps what it played and was told. */
class Speaker {
  constructor(rateHz = 48000) {
    this.rateHz = rateHz;
    this.events = [];
    this.heard = [];
    this.buffer = new PlayoutBuffer(rateHz, (event) => this.events.push(event));
  }

  /** Plays for this long; returns what sounded meanwhile. */
  play(milliseconds) {
    const before = this.heard.length;
    while (this.heard.length - before < (milliseconds * this.rateHz) / 1000) {
      const quantum = new Float32Array(QUANTUM);
      this.buffer.render(quantum);
      this.heard.push(...quantum);
    }
    return this.heard.slice(before);
  }

  of(type) {
    return this.events.filter((event) => event.type === type);
  }

  get frames() {
    return this.heard.findLastIndex((sample) => sample !== 0) - this.heard.findIndex((sample) => sample !== 0) + 1;
  }
}

/** Milliseconds of 440 Hz, as the gateway sends it. */
const speech = (milliseconds) => pcm16(sine(440, 24000, 24 * milliseconds));

describe('a response that arrives whole', () => {
  for (const rateHz of [24000, 44100, 48000, 96000]) {
    test(`is heard whole and unchanged at ${rateHz} Hz, and its played time is exact`, () => {
      const speaker = new Speaker(rateHz);
      speaker.buffer.push('r1', speech(500));
      speaker.buffer.end('r1');
      speaker.play(600);
      assert.deepEqual(speaker.events, [
        { type: 'started', id: 'r1' },
        { type: 'finished', id: 'r1', playedMs: 500 },
      ]);
      const middle = speaker.heard.slice(rateHz / 50, (rateHz * 48) / 100);
      const wanted = sine(440, rateHz, rateHz).slice(rateHz / 50, (rateHz * 48) / 100);
      assert.ok(signalToNoiseDb(middle, wanted) >= 60);
      assert.ok(Math.abs(speaker.frames - rateHz / 2) <= 4, `${speaker.frames}`);
      assert.ok(largestStep(speaker.heard) < (SMOOTH * 48000) / rateHz);
    });
  }

  test('is heard whole however it was cut into frames', () => {
    const [whole, cut] = [new Speaker(), new Speaker()];
    whole.buffer.push('r1', speech(300));
    for (let start = 0; start < 7200; start += 37) cut.buffer.push('r1', speech(300).subarray(start, start + 37));
    for (const speaker of [whole, cut]) {
      speaker.buffer.end('r1');
      speaker.play(400);
    }
    assert.deepEqual(cut.heard, whole.heard);
  });

  test('without audio is finished at once', () => {
    const speaker = new Speaker();
    speaker.buffer.end('r1');
    assert.deepEqual(speaker.events, [{ type: 'finished', id: 'r1', playedMs: 0 }]);
  });

  test('does not begin before 40 ms of it are there', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(40));
    assert.ok(speaker.play(100).every((sample) => sample === 0));
    speaker.buffer.push('r1', speech(20));
    assert.ok(speaker.play(10).some((sample) => sample !== 0));
  });
});

describe('clear', () => {
  test('ends in a fade of 10 ms, then silence, and tells exactly what was heard', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(1000));
    speaker.play(200);
    speaker.buffer.clear('r1');
    const after = speaker.play(100);
    assert.ok(after.slice(480).every((sample) => sample === 0), 'silent after 10 ms');
    assert.ok(largestStep(speaker.heard) < SMOOTH);
    const [cleared] = speaker.of('cleared');
    assert.equal(cleared.playedMs, Math.round(speaker.frames / 48)); // the last frame of a fade is silent
    assert.equal(speaker.of('finished').length, 0);
  });

  test('of a response that waits behind another leaves the other alone', () => {
    const speaker = new Speaker();
    for (const id of ['r1', 'r2', 'r3']) {
      speaker.buffer.push(id, speech(100));
      speaker.buffer.end(id);
    }
    speaker.play(50);
    speaker.buffer.clear('r2');
    speaker.play(300);
    assert.deepEqual(
      speaker.events.filter(({ type }) => type !== 'started'),
      [
        { type: 'cleared', id: 'r2', playedMs: 0 },
        { type: 'finished', id: 'r1', playedMs: 100 },
        { type: 'finished', id: 'r3', playedMs: 100 },
      ],
    );
  });

  test('of a response that never came is answered: nothing of it was heard', () => {
    const speaker = new Speaker();
    speaker.buffer.clear('r1');
    assert.deepEqual(speaker.events, [{ type: 'cleared', id: 'r1', playedMs: 0 }]);
  });

  test('makes room for the next response', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(1000));
    speaker.play(100);
    speaker.buffer.clear('r1');
    speaker.buffer.push('r2', speech(100));
    speaker.buffer.end('r2');
    speaker.play(200);
    assert.deepEqual(speaker.of('finished'), [{ type: 'finished', id: 'r2', playedMs: 100 }]);
    assert.ok(largestStep(speaker.heard) < SMOOTH);
  });
});

describe('a network that is late', () => {
  test('makes a gap without clicks, and nothing is lost', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(100));
    speaker.play(300);
    assert.equal(speaker.of('underrun').length, 1);
    speaker.buffer.push('r1', speech(200));
    speaker.buffer.end('r1');
    speaker.play(300);
    assert.ok(largestStep(speaker.heard) < SMOOTH);
    assert.deepEqual(speaker.of('finished'), [{ type: 'finished', id: 'r1', playedMs: 300 }]);
  });

  test('makes it wait longer next time, and less again when all goes well', () => {
    const speaker = new Speaker();
    const waitsFor = (id, milliseconds) => {
      speaker.buffer.push(id, speech(milliseconds));
      const waited = speaker.play(5).every((sample) => sample === 0);
      speaker.buffer.end(id);
      speaker.play(1000);
      return waited;
    };
    assert.equal(waitsFor('a', 60), false);
    speaker.buffer.push('late', speech(60));
    speaker.play(200);
    speaker.buffer.end('late');
    speaker.play(200);
    assert.equal(waitsFor('b', 60), true);
    for (let i = 0; i < 4; i++) waitsFor(`c${i}`, 60);
    assert.equal(waitsFor('d', 60), false);
  });
});

describe('hold and resume', () => {
  test('fade out, keep everything, fade in', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(400));
    speaker.buffer.end('r1');
    speaker.play(100);
    speaker.buffer.hold('r1');
    const held = speaker.play(500);
    assert.ok(held.slice(480).every((sample) => sample === 0));
    speaker.buffer.resume('r1');
    speaker.play(500);
    assert.deepEqual(speaker.of('finished'), [{ type: 'finished', id: 'r1', playedMs: 400 }]);
    assert.ok(largestStep(speaker.heard) < SMOOTH);
  });

  test('a held response that is cleared is cleared at once', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(400));
    speaker.play(100);
    speaker.buffer.hold('r1');
    speaker.play(50);
    speaker.buffer.clear('r1');
    assert.equal(speaker.of('cleared').length, 1);
    assert.ok(speaker.play(50).every((sample) => sample === 0));
  });
});

test('whatever happens, in any order: no click, one end for each response, never more played than came', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = randomNumbers(seed);
    const pick = (count) => Math.floor(count * random.next().value);
    const speaker = new Speaker([44100, 48000][pick(2)]);
    const received = {};
    let current = 0;
    for (let step = 0; step < 80; step++) {
      const id = `r${current}`;
      const action = pick(8);
      if (action < 3) {
        const milliseconds = 5 + pick(120);
        const at = received[id] ?? 0;
        received[id] = at + milliseconds;
        speaker.buffer.push(id, speech(at + milliseconds).subarray(at * 24));
      } else if (action === 3) speaker.buffer.hold(id);
      else if (action === 4) speaker.buffer.resume(id);
      else if (action === 5 && received[id] && pick(2)) speaker.buffer[pick(2) ? 'end' : 'clear'](`r${current++}`);
      speaker.play(pick(60));
    }
    for (let i = 0; i <= current; i++) speaker.buffer.resume(`r${i}`);
    if (received[`r${current}`]) speaker.buffer.end(`r${current}`);
    speaker.play(Object.values(received).reduce((sum, milliseconds) => sum + milliseconds, 1000));
    const ends = speaker.events.filter(({ type }) => type === 'finished' || type === 'cleared');
    assert.deepEqual(ends.map(({ id }) => id).sort(), Object.keys(received).sort(), `seed ${seed}`);
    for (const { type, id, playedMs } of ends) {
      assert.ok(type === 'finished' ? playedMs === received[id] : playedMs <= received[id], `seed ${seed}: ${id}`);
    }
    assert.ok(largestStep(speaker.heard) < (SMOOTH * 48000) / speaker.rateHz, `seed ${seed}: a click`);
  }
});

describe('a connection that was lost', () => {
  const QUIET = 1e-9;

  test('silences the agent in a fade and keeps what is buffered', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(1000));
    speaker.play(300);
    speaker.buffer.holdAll();
    assert.ok(speaker.play(500).slice(480 + QUANTUM).every((sample) => Math.abs(sample) < QUIET));
    assert.ok(largestStep(speaker.heard) < SMOOTH);
    speaker.buffer.resume('r1');
    speaker.buffer.end('r1');
    speaker.play(1000);
    assert.deepEqual(speaker.of('finished'), [{ type: 'finished', id: 'r1', playedMs: 1000 }]);
  });

  test('leaves nothing to be heard twice, and the played time goes on', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(1000));
    speaker.buffer.push('r2', speech(1000));
    speaker.play(300);
    speaker.buffer.holdAll();
    speaker.play(100);
    const before = speaker.frames;
    speaker.buffer.rewind();
    assert.ok(speaker.play(200).every((sample) => sample === 0));
    speaker.buffer.push('r1', speech(500));
    speaker.buffer.end('r1');
    speaker.play(700);
    const [{ playedMs }] = speaker.of('finished');
    assert.ok(Math.abs(playedMs - (before / 48 + 500)) <= 2, `${playedMs}`);
    assert.deepEqual(speaker.of('started'), [{ type: 'started', id: 'r1' }]);
    assert.ok(largestStep(speaker.heard) < SMOOTH);
    speaker.buffer.push('r2', speech(300));
    speaker.buffer.end('r2');
    speaker.play(500);
    assert.deepEqual(speaker.of('finished').at(-1), { type: 'finished', id: 'r2', playedMs: 300 });
  });

  test('in the last moment of a response: the end that comes again finishes it', () => {
    const speaker = new Speaker();
    speaker.buffer.push('r1', speech(300));
    speaker.play(200);
    speaker.buffer.holdAll();
    speaker.play(100);
    speaker.buffer.rewind();
    speaker.buffer.end('r1');
    speaker.play(100);
    assert.equal(speaker.of('finished').length, 1);
  });
});
