"""Whatever a client or Voice Live sends, the gateway neither fails nor stalls (`make fuzz`: for longer)."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.admission.refusals import ErrorBody
from app.admission.ticket_office import Ticket
from app.main import create_app
from tests.admission.bank import API_KEY
from tests.admission.bank import SETTINGS as OPERATOR
from tests.reliability.fuzz_targets import (
    GatewayInThread,
    check_client_message,
    check_frames,
    check_upstream_event,
    frame,
    gateway_in_thread,
)
from tests.scripted_voice_live import ScriptedVoiceLive

MAX_STALL_S = 0.5
"""Five times the bar, which `make fuzz` holds in a process that does nothing else."""


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
CLIENT_TYPES = ("audio", "ping", "barge_in", "playback", "text", "end", "start", "session.update")
CLIENT_FIELDS = ("audio", "text", "response_id", "played_ms")
UPSTREAM_TYPES = (
    *("session.created", "session.updated", "error", "warning", "response.created", "response.done"),
    *("response.audio.delta", "response.audio_transcript.delta", "response.audio_transcript.done"),
    *("response.output_item.added", "response.output_item.done", "response.content_part.added"),
    *("response.text.done", "response.audio_timestamp.delta", "conversation.item.created"),
    *("conversation.item.input_audio_transcription.completed", "input_audio_buffer.speech_started"),
    *("conversation.item.input_audio_transcription.failed", "input_audio_buffer.speech_stopped"),
    *("input_audio_buffer.committed", "response.of.tomorrow"),
)
UPSTREAM_FIELDS = (
    *("response", "response_id", "item", "item_id", "delta", "transcript", "session", "error", "status"),
    *("content_index", "output_index", "audio_start_ms", "audio_end_ms", "part", "text", "event_id"),
    *("audio_offset_ms", "audio_duration_ms", "id", "output", "code"),
)


def objects(types: tuple[str, ...], fields: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a known type, whose fields may hold anything, nested or not."""
    values = ANY_JSON | st.dictionaries(st.sampled_from(fields), ANY_JSON, max_size=4)
    return st.builds(
        lambda kind, rest: {"type": kind, **rest},
        st.sampled_from(types) | ANY_JSON,
        st.dictionaries(st.sampled_from(fields), values, max_size=6),
    )


def mutated(texts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """These texts, cut, repeated or with bytes replaced."""
    return st.builds(
        lambda text, at, junk: text[:at] + junk + text[at + len(junk) :],
        texts,
        st.integers(0, 200),
        st.binary(max_size=6),
    )


def encoded(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


CLIENT = encoded(objects(CLIENT_TYPES, CLIENT_FIELDS) | ANY_JSON)
UPSTREAM = encoded(objects(UPSTREAM_TYPES, UPSTREAM_FIELDS) | ANY_JSON)
FRAMES = st.builds(
    frame,
    st.sampled_from((0, 1, 1, 1, 2, 2, 8, 9, 10)) | st.integers(0, 15),
    CLIENT | st.binary(max_size=300) | st.integers(0, 3).map(lambda n: b"\0" * 30_000 * n),
    fin=st.sampled_from((True, True, True, False)),
    rsv=st.sampled_from((0, 0, 0, 0, 1, 2, 4)),
    masked=st.sampled_from((True, True, True, True, False)),
    claimed=st.sampled_from((None, None, None, None, 0, 126, 2**16, 2**31, 2**63 - 1, 2**64 - 1)),
)
METHODS = st.sampled_from((b"GET", b"POST", b"PUT", b"OPTIONS", b"BREW", b""))
TARGETS = st.sampled_from(
    (b"/", b"/health", b"/ws/voice", b"/api/tickets", b"/static/", b"*", b"//", b"http://x/")
)
REQUESTS = st.builds(
    lambda method, target, junk, headers, body: (
        method
        + b" "
        + target
        + junk
        + b" HTTP/1.1\r\nHost: x\r\n"
        + b"\r\n".join(headers)
        + b"\r\n\r\n"
        + body
    ),
    METHODS,
    TARGETS,
    st.binary(max_size=20),
    st.lists(
        st.sampled_from(
            (b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: -1", b"Origin: null")
        )
        | st.binary(max_size=30),
        max_size=5,
    ),
    st.binary(max_size=50),
)


@settings(max_examples=150, deadline=None)
@given(mutated(CLIENT) | CLIENT | st.binary(max_size=100))
def test_client_messages(data: bytes) -> None:
    check_client_message(data)


@settings(max_examples=150, deadline=None)
@given(mutated(UPSTREAM) | UPSTREAM | st.binary(max_size=100))
def test_upstream_events(data: bytes) -> None:
    check_upstream_event(data)


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayInThread]:
    with gateway_in_thread() as running:
        yield running
        assert running.longest_stall_s < MAX_STALL_S
        assert check_frames(running, frame(1, b'{"type":"end"}'), quiet_s=5) == [1000]


QUICK = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@QUICK
@given(data=st.lists(FRAMES, max_size=6).map(b"".join) | st.binary(max_size=200))
def test_raw_frames(gateway: GatewayInThread, data: bytes) -> None:
    check_frames(gateway, data)


@QUICK
@given(data=REQUESTS | st.binary(max_size=200))
def test_raw_requests(gateway: GatewayInThread, data: bytes) -> None:
    check_frames(gateway, data, upgraded=False)


TICKET_BODIES = encoded(
    st.fixed_dictionaries(
        {"subject": st.text(min_size=1, max_size=300)},
        optional={
            "origin": st.none() | st.text(max_size=40) | st.just("https://shop.example.com"),
            "campaign": st.none() | st.text(max_size=300),
        },
    )
    | ANY_JSON
)
CREDENTIALS = st.none() | st.just(f"Bearer {API_KEY}") | st.text(st.characters(codec="latin-1"), max_size=40)
PATHS = (
    st.just("/api/tickets")
    | st.sampled_from(("/health", "/ready", "/", "/static/", "/nowhere"))
    | st.text(max_size=20)
)


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with TestClient(create_app(ScriptedVoiceLive().settings(**OPERATOR))) as client:
        yield client


@settings(max_examples=100, deadline=None)
@given(
    method=st.sampled_from(("POST", "POST", "POST", "GET", "PUT", "OPTIONS", "HEAD")),
    path=PATHS,
    credential=CREDENTIALS,
    body=mutated(TICKET_BODIES) | TICKET_BODIES | st.binary(max_size=100),
)
def test_http(http: TestClient, method: str, path: str, credential: str | None, body: bytes) -> None:
    headers = [] if credential is None else [(b"Authorization", credential.encode("latin-1"))]
    answer = http.request(method, "/" + quote(path.lstrip("/")), content=body, headers=headers)
    assert answer.status_code < 500
    if path == "/api/tickets" and method == "POST":
        if answer.status_code == 200:
            assert credential == f"Bearer {API_KEY}"
            Ticket.model_validate(answer.json())
        else:
            assert answer.status_code in (400, 401)
            assert ErrorBody.model_validate(answer.json()).error.message


@pytest.mark.parametrize("times", [100_000, 10_000_000])
def test_deep_nesting_is_cheap(times: int) -> None:
    data = (b"[" * times)[: 4 * 2**20]
    check_client_message(data)
    check_upstream_event(data)
