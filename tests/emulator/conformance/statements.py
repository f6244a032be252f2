"""What a Voice Live endpoint must do: the statements that the conformance tests decide, one test each.

`m` statements are the least that every client library needs, `f` statements the whole protocol. Those in
`EMULATOR_ONLY` are about what only an emulator offers, or what cannot be asked of a cloud service.
"""

from typing import Final

STATEMENTS: Final = {
    "m1": "The WebSocket is at `/voice-live/realtime`, after any prefix",
    "m2": "Plain TCP suffices",
    "m3": "Unknown query keys are ignored; `model` or `deployment`; `api-version` may be absent",
    "m4": "A credential is taken as `api-key` or `Authorization: Bearer`, in the header or the query",
    "m5": "No subprotocol is selected",
    "m6": "The first message is `session.created` with `event_id` and `session.id`",
    "m7": "Pings and close frames are answered at once",
    "m8": "Every message is one JSON object as text, below 1 MiB",
    "m9": "`session.update` merges, keeps explicit null, and is answered with the whole session",
    "m10": "Audio is appended in silence, up to 15 MiB at once; `commit` and `clear` are answered",
    "m11": "The events of an answer come in order, with the same ids and indices throughout",
    "m12": "Messages have `content`, parts have `part`, errors have `error`",
    "m13": "`usage` is complete and adds up",
    "m14": "`expires_at` is in whole seconds",
    "m15": "Cancelling nothing is an error that names the event; the session goes on",
    "m16": "Refusals are HTTP statuses before the upgrade",
    "f1": "Unset fields are explicit nulls; objects and ids have the recorded names and prefixes",
    "f2": "Cascade and native models differ in their order of events",
    "f3": "Every kind of turn detection finds turns; ids and positions fit",
    "f4": "Speech interrupts the answer, which ends as cancelled; auto-truncation cuts what was not heard",
    "f5": "Truncation beyond the audio, unknown items and an empty commit are errors",
    "f6": "One answer at a time in the conversation, and others beside it",
    "f7": "A given text is said verbatim and remembered; interim texts bridge waiting and calls",
    "f8": "Functions are called with streamed arguments, by every `tool_choice`, and their output goes on",
    "f9": "Every format of input and output",
    "f10": "Voices are checked and errors name the field",
    "f11": "Word timestamps and visemes when asked for; an avatar is an error, not silence",
    "f12": "Agents by name and by id, their own instructions, conversations that are taken up again",
    "f13": "The model is fixed by the URL, the voice by the first audio",
    "f14": "Faults on request",
    "f15": "Quotas of connections, tokens and age",
    "f16": "Events that clients do not know, on request",
    "f17": "Audio as fast as it is made or at a pace; the same ids with the same seed",
    "f18": "The newer names of OpenAI, on request",
    "f19": "Binary messages are taken; broken ones are errors and the session goes on",
    "f20": "Event types that only SDKs know are answered and the session goes on",
}
EMULATOR_ONLY: Final = frozenset({"m2", "f12", "f14", "f15", "f16", "f17", "f18"})
