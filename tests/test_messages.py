"""The contract's messages: every one read and written, and nothing that a client sends repeated or fatal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ErrorCode
from app.messages import (
    AgentTranscript,
    BadMessageError,
    BargeIn,
    CallerAudio,
    HangUp,
    Ping,
    PlaybackReport,
    TypedText,
    encode_server_message,
    error_message,
    parse_client_message,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"audio","audio":"AAEC"}', CallerAudio(b"\0\1\2")),
        ('{"type":"ping","extra":1}', Ping()),
        ('{"type":"barge_in"}', BargeIn()),
        ('{"type":"playback","response_id":"r","played_ms":12.7}', PlaybackReport("r", 12)),
        ('{"type":"text","text":" hi "}', TypedText(" hi ")),
        ('{"type":"end"}', HangUp()),
    ],
)
def test_each_client_message_is_read(text: str, message: object) -> None:
    assert parse_client_message(text) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)
TYPES = st.sampled_from(["audio", "ping", "barge_in", "playback", "text", "end", "other"])


@given(
    st.one_of(
        st.text(max_size=200),
        JSON.map(json.dumps),
        st.builds(
            lambda kind, rest: json.dumps({**rest, "type": kind}),
            TYPES,
            st.dictionaries(st.sampled_from(["audio", "text", "response_id", "played_ms"]), JSON),
        ),
    )
)
def test_whatever_comes_is_a_message_or_a_complaint(text: str) -> None:
    complaint = ""
    try:
        parse_client_message(text)
    except BadMessageError as bad:
        complaint = bad.message
    assert len(complaint) < 100


def test_a_message_names_its_type_first_and_leaves_out_what_is_not_set() -> None:
    assert encode_server_message(AgentTranscript("Hi.", "r")) == (
        b'{"type":"agent_transcript","text":"Hi.","response_id":"r"}'
    )


@pytest.mark.parametrize("code", ErrorCode)
def test_each_error_is_written_from_the_catalogue(code: ErrorCode) -> None:
    written = json.loads(encode_server_message(error_message(code, fatal=True, ref="x")))
    assert written["code"] == code.value
    assert written["fatal"] is True
    assert isinstance(written["retryable"], bool)
    assert written["message"]
