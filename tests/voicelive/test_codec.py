"""The codec: for any message at all, the fast path and the full parser agree."""

import base64
import json
from typing import Any

import orjson
import pytest
from azure.ai.voicelive import models
from hypothesis import example, given
from hypothesis import strategies as st

from app.voicelive.codec import MAX_HEAD_BYTES, decode_event, encode_append, fast_audio_delta
from app.voicelive.events import AudioDelta, MalformedEventError, ServerEvent, parse_server_event

PCM = bytes(range(256)) * 40
AUDIO = base64.b64encode(PCM).decode()

# The key order of every audio delta in recordings of the live service, July to September 2026.
RECORDED_KEYS = ["event_id", "type", "response_id", "item_id", "output_index", "content_index", "delta"]

LOOKALIKES = [
    ',"delta":"',
    ',"delta":"AAAA"}',
    '"response.audio.delta"',
    '{"type":"response.audio.delta"',
    '\\","delta":"',
    "\\",
    '"}',
    "\u0000",
    "\U0001f600",
    "\ud83d",
    "QUFB",
]


def outcome(data: bytes) -> ServerEvent | str:
    """What comes out of the codec, also where it would not try the fast path: the event, or the complaint."""
    fast = fast_audio_delta(data)
    try:
        event = decode_event(data)
    except MalformedEventError as error:
        return fast or str(error)
    assert fast is None or fast == event
    return event


def reference(data: bytes) -> ServerEvent | str:
    """The same by the full parser alone."""
    try:
        return parse_server_event(data)
    except MalformedEventError as error:
        return str(error)


def recorded(**changes: object) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "event_id": "event_5dJ0xJYlRzCzN1hTk6wYvA",
        "type": "response.audio.delta",
        "response_id": "resp_5dJ0xJYlRzCzN1hTk6wYv",
        "item_id": "msg_5dJ0xJYlRzCzN1hTk6wYvA",
        "output_index": 0,
        "content_index": 0,
        "delta": AUDIO,
    }
    return fields | changes


def compact(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def mostly(usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: rare if number == 9 else usual)


ids = st.text("abcXYZ019_-", min_size=1, max_size=27)
texts = mostly(ids, st.text(max_size=20) | st.lists(st.sampled_from(LOOKALIKES), max_size=3).map("".join))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


deltas = mostly(
    st.binary(max_size=600).map(lambda pcm: base64.b64encode(pcm[: len(pcm) & ~1]).decode()), texts | values
)
names = st.one_of(
    st.sampled_from([*RECORDED_KEYS, "item", "phase"]), st.sampled_from(LOOKALIKES), st.text(max_size=8)
)
types = mostly(st.just("response.audio.delta"), st.just("response.audio_transcript.delta") | values)
orders = st.sampled_from(["delta last", "delta last", "delta last", "any"])


@st.composite
def pairs(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """An event as a list of its pairs: any order, some missing, some twice, some that nobody knows."""
    known: list[tuple[str, Any]] = [
        ("event_id", draw(texts)),
        ("type", draw(types)),
        ("response_id", draw(mostly(texts, values))),
        ("item_id", draw(texts)),
        ("output_index", 0),
        ("content_index", draw(st.integers(0, 5) | values)),
        ("delta", draw(deltas)),
    ]
    some = draw(st.lists(st.sampled_from(known), max_size=2))
    strange = draw(st.lists(st.tuples(names, values | deltas), max_size=2))
    if draw(orders) == "any":
        return draw(st.permutations([*known, *some, *strange]))
    return [*draw(st.permutations([*known[:-1], *some, *strange])), known[-1]]


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """JSON of such an event, with any blanks and any escapes; sometimes damaged."""
    compact, spaced = (",", ":"), draw(st.sampled_from([(", ", ": "), (" ,", " :"), (",\n", ":\t")]))
    comma, colon = draw(mostly(st.just(compact), st.just(spaced)))

    def text(value: Any) -> str:
        if isinstance(value, str) and draw(mostly(st.just(False), st.just(True))):
            every = draw(st.booleans())
            return '"' + "".join(escaped(letter, every=every) for letter in value) + '"'
        return json.dumps(value, separators=(comma, colon), ensure_ascii=draw(st.booleans()))

    fields = comma.join(f"{text(name)}{colon}{text(value)}" for name, value in draw(pairs()))
    data: bytes = (
        "{" + fields + "}" + draw(mostly(st.just(""), st.sampled_from([" ", "}", '"}', "\x00"])))
    ).encode(errors="surrogatepass")
    match draw(st.sampled_from(["whole", "whole", "whole", "cut", "byte"])):
        case "cut":
            return data[: draw(st.integers(0, len(data)))]
        case "byte":
            at = draw(st.integers(0, len(data) - 1))
            return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
        case _:
            return data


def escaped(letter: str, *, every: bool) -> str:
    if every or letter in '"\\' or letter < " ":
        return "".join(
            f"\\u{unit:04x}"
            for unit in memoryview(letter.encode("utf-16-le", "surrogatepass")).cast("H").tolist()
        )
    return letter


class TestFastPathEqualsSlowPath:
    @given(data=written())
    def test_for_any_event(self, data: bytes) -> None:
        assert outcome(data) == reference(data)
        assert outcome(memoryview(data)) == reference(data)  # type: ignore[arg-type]

    @given(data=st.binary(max_size=400))
    @example(b"")
    @example(b'{"type":"response.audio.delta","delta":"AAAA"}')
    def test_for_any_bytes(self, data: bytes) -> None:
        assert outcome(data) == reference(data)

    @given(
        head=st.lists(
            st.sampled_from([*LOOKALIKES, '{"type":', '"x":', "{", "[", "]", "}", ",", '"']), max_size=8
        ),
        tail=st.lists(st.sampled_from([*LOOKALIKES, "}", "]", '"', "AAAA"]), max_size=4),
    )
    def test_for_fragments_of_events(self, head: list[str], tail: list[str]) -> None:
        data = ("".join(head) + ',"delta":"AAAA' + "".join(tail)).encode(errors="surrogatepass")
        assert outcome(data) == reference(data)

    @pytest.mark.parametrize(
        "text",
        [
            # `delta` belongs to an object within the event, which has none of its own.
            '{"type":"response.audio.delta","response_id":"r","item_id":"i","x":{"y":1,"delta":"AAAA"}}',
            # The text of an id looks like the rest of the event.
            r'{"type":"response.audio.delta","response_id":"r\",\"delta\":\"AAAA","item_id":"i","delta":"BBBB"}',
            # Twice: the last one counts.
            '{"type":"response.audio.delta","response_id":"r","delta":"AAAA","item_id":"i","delta":"BBBB"}',
            '{"type":"error","type":"response.audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}',
            '{"type":"response.audio.delta","response_id":"r","item_id":"i","type":"other","delta":"AAAA"}',
            # Escapes within the audio.
            r'{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"\u0041AA\/"}',
            r'{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"AAAA\"}',
            # Half a sample, broken base64, no text.
            '{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"AA=="}',
            '{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"AAA"}',
            '{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"AA AA"}',
            '{"type":"response.audio.delta","response_id":"r","item_id":7,"delta":"AAAA"}',
            '{"type":"response.audio.delta","response_id":"r","delta":"AAAA"}',
            '{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":null}',
            # More than one value.
            '{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}{"x":"y"}',
            '[{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}',
        ],
    )
    def test_for_hostile_events(self, text: str) -> None:
        assert outcome(text.encode()) == reference(text.encode())


class TestFastPathIsTaken:
    @pytest.mark.parametrize("id_length", [1, 16, 21, 22, 27, 32])
    @pytest.mark.parametrize("prefix", ["item_", "msg_"])
    @pytest.mark.parametrize("pcm", [b"", bytes(2), bytes(960), PCM, bytes(96_000)])
    def test_for_deltas_as_recorded(self, id_length: int, prefix: str, pcm: bytes) -> None:
        event = recorded(
            event_id="event_" + "A" * id_length,
            response_id="resp_" + "B" * id_length,
            item_id=prefix + "C" * id_length,
            delta=base64.b64encode(pcm).decode(),
        )
        assert list(event) == RECORDED_KEYS
        expected = AudioDelta(event["response_id"], event["item_id"], pcm)
        assert fast_audio_delta(compact(event)) == expected
        assert fast_audio_delta(memoryview(bytearray(compact(event)))) == expected

    @given(order=st.permutations(RECORDED_KEYS[:-1]))
    def test_for_any_other_order_before_the_audio(self, order: list[str]) -> None:
        event = recorded()
        data = compact({name: event[name] for name in [*order, "delta"]})
        assert fast_audio_delta(data) == AudioDelta(event["response_id"], event["item_id"], PCM)

    def test_not_for_transcripts_though_they_have_deltas(self) -> None:
        assert fast_audio_delta(compact(recorded(type="response.audio_transcript.delta"))) is None

    def test_not_for_a_head_of_any_length(self) -> None:
        data = compact(recorded(event_id="e" * MAX_HEAD_BYTES))
        assert fast_audio_delta(data) is None
        assert isinstance(decode_event(data), AudioDelta)


class TestAppend:
    @given(pcm=st.binary(max_size=5000))
    def test_is_what_the_sdk_sends(self, pcm: bytes) -> None:
        audio = base64.b64encode(pcm).decode()
        sdks = models.ClientEventInputAudioBufferAppend(audio=audio).as_dict()
        assert orjson.loads(encode_append(pcm)) == sdks
        assert encode_append(memoryview(pcm)) == encode_append(pcm)
