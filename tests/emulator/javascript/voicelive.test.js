/**
 * Microsoft's own client for JavaScript, unchanged, against an emulator whose address and token
 * are in the environment. Its answers take as long as they last, so they can be interrupted.
 */
import { AzureKeyCredential } from "@azure/core-auth";
import { VoiceLiveClient } from "@azure/ai-voicelive";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const ADDRESS = process.env.EMULATOR_ADDRESS;
const TOKEN = process.env.EMULATOR_TOKEN;
const SPEECH_FILE = process.env.EMULATOR_SPEECH;
const TIMEOUT_MS = 20_000;
const BYTES_PER_MS = 48;
const TOOL = { type: "function", name: "get_price", parameters: { type: "object", properties: {} } };

/** One connected session and the server events that it was given. */
class Talk {
  constructor() {
    this.events = [];
    this.read = 0;
    this.wake = () => {};
    this.lost = new Promise((resolve) => {
      this.onLost = resolve;
    });
  }

  static async open(target = "gpt-4.1", { query = "", credential = new AzureKeyCredential("key") } = {}) {
    const talk = new Talk();
    const client = new VoiceLiveClient(`${ADDRESS}/${query}`, credential);
    talk.session = client.createSession(target);
    talk.session.subscribe({
      onServerEvent: async (event) => {
        talk.events.push(event);
        talk.wake();
      },
      onDisconnected: async () => talk.onLost("disconnected"),
      onError: async ({ error }) => talk.onLost(error),
    });
    await talk.session.connect();
    return talk;
  }

  /** The events up to and with the next of a type. */
  async until(type) {
    const from = this.read;
    const deadline = AbortSignal.timeout(TIMEOUT_MS);
    for (;;) {
      for (; this.read < this.events.length; this.read++) {
        if (this.events[this.read].type === type) {
          this.read++;
          return this.events.slice(from, this.read);
        }
      }
      await new Promise((resolve, reject) => {
        this.wake = resolve;
        const fail = () => reject(new Error(`no ${type} in ${this.events.map((e) => e.type)}`));
        deadline.onabort = fail;
        this.lost.then(fail);
      });
    }
  }

  /** The next event of a type. */
  async next(type) {
    return (await this.until(type)).at(-1);
  }

  async type(text) {
    const content = [{ type: "input_text", text }];
    await this.session.addConversationItem({ type: "message", role: "user", content });
  }

  async ask(response = {}) {
    await this.session.sendEvent({ type: "response.create", response });
  }
}

/** Run a test with a session that is closed whatever happens. */
function talking(name, ...rest) {
  const [options, body] = rest.length === 2 ? rest : [{}, rest[0]];
  test(name, async () => {
    const talk = await Talk.open(options.target, options);
    try {
      await body(talk);
    } finally {
      await talk.session.dispose();
    }
  });
}

function silence(milliseconds) {
  return new Uint8Array(milliseconds * BYTES_PER_MS);
}

function speech(milliseconds) {
  const samples = Int16Array.from({ length: milliseconds * 24 }, (_, n) => 20_000 * Math.sin(n / 12));
  return new Uint8Array(samples.buffer);
}

talking("opens and configures a session", async (talk) => {
  const { session } = await talk.next("session.created");
  assert.equal(talk.session.sessionId, session.id);
  assert.ok(session.expiresAt instanceof Date);
  await talk.session.updateSession({
    voice: { type: "azure-custom", name: "Brand", endpointId: "6e1ce7ba-3ea1-4eac-90ec-2fd35f0bd1e7" },
    turnDetection: { type: "azure_semantic_vad", silenceDurationInMs: 300 },
    inputAudioTranscription: { model: "azure-speech" },
  });
  const updated = (await talk.next("session.updated")).session;
  assert.equal(updated.voice.endpointId, "6e1ce7ba-3ea1-4eac-90ec-2fd35f0bd1e7");
  assert.equal(updated.turnDetection.type, "azure_semantic_vad");
});

talking("a native model", { target: "gpt-realtime" }, async (talk) => {
  assert.equal((await talk.next("session.created")).session.voice.name, "alloy");
  await talk.type("Hello.");
  await talk.ask();
  assert.equal((await talk.next("response.done")).response.status, "completed");
});

const credential = { getToken: async () => ({ token: TOKEN, expiresOnTimestamp: Date.now() + 600_000 }) };
const agent = { agent: { agentName: "sales", projectName: "shop" } };

talking("an agent, with a token", { target: agent, credential }, async (talk) => {
  const { session } = await talk.next("session.created");
  assert.equal(session.agent.name, "sales");
  await talk.type("Hello.");
  await talk.ask();
  assert.equal((await talk.next("response.done")).response.status, "completed");
});

test("an agent refuses a key", async () => {
  await assert.rejects(Talk.open(agent), /401/);
});

talking("typed turn", async (talk) => {
  await talk.type("Hello.");
  await talk.ask();
  const events = await talk.until("response.done");
  const audio = events.filter(({ type }) => type === "response.audio.delta");
  const { transcript } = events.find(({ type }) => type === "response.audio_transcript.done");
  assert.match(transcript, /^You said: Hello\./);
  const bytes = audio.reduce((sum, { delta }) => sum + delta.byteLength, 0);
  assert.equal(bytes, transcript.split(" ").length * 200 * BYTES_PER_MS);
  const { response } = events.at(-1);
  assert.equal(response.status, "completed");
  assert.ok(response.usage.totalTokens > 0);
  assert.equal(events.filter(({ type }) => type === "error").length, 0);
});

talking("spoken turn and barge-in", async (talk) => {
  await talk.session.sendAudio(silence(500));
  await talk.session.sendAudio(speech(1_000));
  await talk.session.sendAudio(silence(1_000));
  const heard = await talk.until("response.audio.delta");
  const words = heard.find(({ type }) => type === "conversation.item.input_audio_transcription.completed");
  assert.equal(words.transcript, "I spoke for 1.0 seconds.");
  const [started, stopped] = ["speech_started", "speech_stopped"].map((name) =>
    heard.find(({ type }) => type === `input_audio_buffer.${name}`),
  );
  assert.equal(started.itemId, words.itemId);
  assert.ok(started.audioStartInMs < stopped.audioEndInMs);
  await talk.session.sendAudio(silence(300));
  await talk.session.sendAudio(speech(500));
  await talk.until("input_audio_buffer.speech_started");
  const { response } = await talk.next("response.done");
  assert.equal(response.status, "cancelled");
  assert.equal(response.statusDetails.reason, "turn_detected");
});

talking("cancel race", async (talk) => {
  await talk.type("Hello.");
  await talk.ask();
  await talk.until("response.audio.delta");
  await talk.session.sendEvent({ type: "response.cancel" });
  await talk.session.sendEvent({ type: "response.cancel" });
  const { response } = await talk.next("response.done");
  assert.equal(response.statusDetails.reason, "client_cancelled");
  assert.equal((await talk.next("error")).error.code, "response_cancel_not_active");
  const ended = talk.events.findIndex(({ type }) => type === "response.done");
  await talk.type("Still there?");
  await talk.until("conversation.item.created");
  const late = talk.events.slice(ended).filter(({ type }) => type === "response.audio.delta");
  assert.deepEqual(late, []);
});

talking("function call", async (talk) => {
  await talk.session.updateSession({ tools: [TOOL] });
  await talk.type("How much?");
  await talk.ask({ toolChoice: "required" });
  const events = await talk.until("response.done");
  const { name, callId, arguments: given } = events.find(
    ({ type }) => type === "response.function_call_arguments.done",
  );
  assert.equal(name, "get_price");
  assert.equal(given, "{}");
  assert.equal(events.at(-1).response.output[0].callId, callId);
  await talk.session.addConversationItem({ type: "function_call_output", callId, output: "39" });
  await talk.ask();
  assert.equal((await talk.next("response.done")).response.status, "completed");
});

talking("truncation", async (talk) => {
  await talk.type("Hello.");
  await talk.ask();
  const { id } = (await talk.next("response.done")).response.output[0];
  const cut = { type: "conversation.item.truncate", itemId: id, contentIndex: 0, audioEndInMs: 400 };
  await talk.session.sendEvent(cut);
  assert.equal((await talk.next("conversation.item.truncated")).audioEndInMs, 400);
  await talk.session.sendEvent(cut);
  assert.equal((await talk.next("error")).error.code, "item_already_truncated");
});

talking("an error leaves the session alive", async (talk) => {
  await talk.session.sendEvent({ type: "response.cancel", eventId: "mine" });
  const { error } = await talk.next("error");
  assert.equal(error.code, "response_cancel_not_active");
  assert.equal(error.eventId, "mine");
  await talk.session.startAudioTurn();
  assert.equal((await talk.next("error")).error.code, "unsupported_event");
  await talk.type("Still there?");
  await talk.until("conversation.item.created");
});

talking("expiry", { query: "?fault=expire:0.5" }, async (talk) => {
  assert.equal((await talk.next("error")).error.code, "session_expired");
  await talk.lost;
  assert.equal(talk.session.isConnected, false);
});

test("a refused handshake tells its status", async () => {
  await assert.rejects(Talk.open("gpt-4.1", { query: "?fault=refuse:429" }), /429/);
});

if (SPEECH_FILE) {
  talking("real speech", async (talk) => {
    await talk.session.sendAudio(silence(300));
    await talk.session.sendAudio(new Uint8Array(readFileSync(SPEECH_FILE)));
    await talk.session.sendAudio(silence(1_000));
    const events = await talk.until("response.audio.delta");
    const words = events.find(({ type }) => type === "conversation.item.input_audio_transcription.completed");
    assert.match(words.transcript, /price/i);
  });
}
