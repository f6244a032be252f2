"""The names that OpenAI's current clients use for the same protocol: another skin over each event.

Voice Live speaks the beta names. A client that asks for the others, in its query or by the shape of
its `session.update`, gets them from then on. Pure: the session knows the beta names only.
"""

from collections.abc import Mapping
from typing import Any, Final

from voicelive_emulator.events import ClientError, Event, Events

_EVENT_NAMES: Final = {
    "conversation.item.created": "conversation.item.added",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}
_PART_NAMES: Final = {"text": "output_text", "audio": "output_audio"}
_INPUT_PART_NAMES: Final = {"output_audio": "audio"}
_FORMATS: Final = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
_SHOWN_FORMATS: Final[dict[str, Event]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_SESSION_PATHS: Final = {
    "output_modalities": "modalities",
    "audio.input.format": "input_audio_format",
    "audio.input.transcription": "input_audio_transcription",
    "audio.input.noise_reduction": "input_audio_noise_reduction",
    "audio.input.turn_detection": "turn_detection",
    "audio.output.format": "output_audio_format",
    "audio.output.voice": "voice",
    "max_output_tokens": "max_response_output_tokens",
    "reasoning.effort": "reasoning_effort",
    "truncation": "truncation_strategy",
}
"""Where the newer session object keeps what the older one has at its top."""
_RESPONSE_PATHS: Final = {
    "output_modalities": "modalities",
    "audio.output.format": "output_audio_format",
    "audio.output.voice": "voice",
    "input": "input_items",
    "reasoning.effort": "reasoning_effort",
}
_NESTED: Final = frozenset({"audio", "audio.input", "audio.output", "reasoning"})
_WITHOUT_EFFECT: Final = frozenset({"type", "tracing", "prompt", "truncation", "audio.output.speed"})
"""Accepted with these values only: what others mean does not exist here."""
_NEUTRAL: Final = (None, "auto", 1.0)
_PCM_RATES: Final = frozenset({16_000, 24_000})


class OpenAINames:
    """Translates for one session. Off until the client asks."""

    def __init__(self, events: Events, *, asked: bool) -> None:
        self._events = events
        self._asked = asked
        self._open_items: dict[str, str | None] = {}
        """Items of the conversation that are still being generated, each with the item before it."""

    def incoming(self, event: object) -> object:
        """Return a client event in the names of Voice Live; raises ClientError where they have none."""
        if not isinstance(event, dict):
            return event
        match event.get("type"), event:
            case "session.update", {"session": {"type": "realtime"} as body}:
                self._asked = True
                return {**event, "session": _flat(body, _SESSION_PATHS, "session")}
            case "response.create", {"response": dict(body)} if self._asked:
                flat = _flat(body, _RESPONSE_PATHS, "response")
                if "input_items" in flat and isinstance(flat["input_items"], list):
                    flat["input_items"] = [_flat_item(item) for item in flat["input_items"]]
                return {**event, "response": flat}
            case "conversation.item.create", {"item": item} if self._asked:
                return {**event, "item": _flat_item(item)}
        return event

    def outgoing(self, event: Event) -> list[Event]:
        """Return what the client gets instead of an event of Voice Live."""
        if not self._asked:
            return [event]
        match event["type"]:
            case "session.created" | "session.updated":
                return [{**event, "session": _shown_session(event["session"])}]
            case "response.created" | "response.done":
                return [{**event, "response": _shown_response(event["response"])}]
            case "conversation.item.created":
                return self._added(_shown_item(event["item"]), event)
            case "conversation.item.done":
                return []
            case "response.output_item.done":
                item = _shown_item(event["item"])
                in_conversation = item["id"] in self._open_items
                return [{**event, "item": item}, *([self._item_done(item)] if in_conversation else [])]
            case "response.output_item.added" | "conversation.item.retrieved":
                return [{**event, "item": _shown_item(event["item"])}]
            case "error":
                return [{**event, "error": {**event["error"], "param": _shown_path(event["error"])}}]
            case name:
                return [{**event, "type": _EVENT_NAMES.get(name, name)}]

    def _added(self, item: Event, event: Event) -> list[Event]:
        self._open_items[item["id"]] = event["previous_item_id"]
        added = {**event, "type": "conversation.item.added", "item": item}
        is_whole = item.get("status", "completed") == "completed"
        return [added, *([self._item_done(item)] if is_whole else [])]

    def _item_done(self, item: Event) -> Event:
        previous_id = self._open_items.pop(item["id"])
        return self._events.event("conversation.item.done", previous_item_id=previous_id, item=item)


def _flat(body: Mapping[str, Any], paths: Mapping[str, str], param: str) -> dict[str, Any]:
    """Return `body` with every path of `paths` moved to its name; formats and modalities translated."""
    flat: dict[str, Any] = {}
    for path, value in _leaves(body):
        name = paths.get(path, path)
        if path in _WITHOUT_EFFECT and (path == "type" or value in _NEUTRAL):
            continue
        if "." in name:
            raise ClientError("unknown_parameter", f"Unknown parameter: '{param}.{path}'.", f"{param}.{path}")
        if path.endswith(".format") and value is not None:
            value, rate_hz = _flat_format(value, f"{param}.{path}")
            if path.startswith("audio.input") and rate_hz is not None:
                flat["input_audio_sampling_rate"] = rate_hz
        if path == "output_modalities" and value == ["audio"]:
            value = ["text", "audio"]
        if path.endswith(".voice") and isinstance(value, dict) and set(value) == {"id"}:
            value = value["id"]
        flat[name] = value
    return flat


def _leaves(body: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in body.items():
        where = f"{path}.{name}" if path else name
        if where in _NESTED and isinstance(value, dict):
            found += _leaves(value, where)
        else:
            found.append((where, value))
    return found


def _flat_format(value: object, param: str) -> tuple[str, int | None]:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or kind not in _FORMATS:
        raise ClientError("invalid_value", f"'{param}.type' must be one of {', '.join(_FORMATS)}.", param)
    rate_hz = value.get("rate", 24_000) if kind == "audio/pcm" else 8_000
    if kind == "audio/pcm" and rate_hz not in _PCM_RATES:
        raise ClientError("invalid_value", f"'{param}.rate' must be 16000 or 24000.", f"{param}.rate")
    return _FORMATS[kind], rate_hz


def _flat_item(item: object) -> object:
    if not isinstance(item, dict) or not isinstance(item.get("content"), list):
        return item
    parts = [
        {**part, "type": _INPUT_PART_NAMES.get(str(part.get("type")), part.get("type"))}
        if isinstance(part, dict)
        else part
        for part in item["content"]
    ]
    return {**item, "content": parts}


def _shown_item(item: Event) -> Event:
    if item.get("role") != "assistant":
        return item
    content = [{**part, "type": _PART_NAMES.get(part["type"], part["type"])} for part in item["content"]]
    return {**item, "content": content}


def _shown_format(audio_format: str, rate_hz: int = 24_000) -> Event:
    shown = _SHOWN_FORMATS.get(audio_format, {"type": audio_format})
    return {**shown, "rate": rate_hz} if "rate" in shown else shown


def _shown_modalities(modalities: list[str]) -> list[str]:
    return ["audio"] if "audio" in modalities else ["text"]


def _shown_voice(voice: Event) -> Event | str:
    return str(voice["name"]) if voice["type"] == "openai" else voice


def _shown_session(session: Event) -> Event:
    audio_input = {
        "format": _shown_format(session["input_audio_format"], session["input_audio_sampling_rate"]),
        "transcription": session["input_audio_transcription"],
        "noise_reduction": session["input_audio_noise_reduction"],
        "turn_detection": session["turn_detection"],
    }
    audio_output = {
        "format": _shown_format(session["output_audio_format"]),
        "voice": _shown_voice(session["voice"]),
        "speed": 1.0,
    }
    same = ("id", "object", "model", "expires_at", "instructions", "tools", "tool_choice", "include")
    shown = {"type": "realtime", **{name: session[name] for name in same}}
    shown |= {
        "output_modalities": _shown_modalities(session["modalities"]),
        "max_output_tokens": session["max_response_output_tokens"],
        "truncation": session["truncation_strategy"] or "auto",
        "tracing": None,
        "prompt": None,
        "audio": {"input": audio_input, "output": audio_output},
    }
    for name in ("agent", "parallel_tool_calls", "metadata"):
        if name in session:
            shown[name] = session[name]
    return shown


def _shown_response(response: Event) -> Event:
    same = ("object", "id", "status", "status_details", "usage", "conversation_id", "metadata")
    output = {
        "format": _shown_format(response["output_audio_format"]),
        "voice": _shown_voice(response["voice"]),
    }
    return {
        **{name: response[name] for name in same},
        "output": [_shown_item(item) for item in response["output"]],
        "output_modalities": _shown_modalities(response["modalities"]),
        "max_output_tokens": response["max_output_tokens"],
        "audio": {"output": output},
    }


def _shown_path(error: Event) -> str | None:
    param: str | None = error["param"]
    if param is None:
        return None
    for head, paths in (("session.", _SESSION_PATHS), ("response.", _RESPONSE_PATHS)):
        for path, name in paths.items():
            rest = param.removeprefix(head + name)
            if param.startswith(head + name) and rest[:1] in ("", ".", "["):
                return f"{head}{path}{rest}"
    return param
