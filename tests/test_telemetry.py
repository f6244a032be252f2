"""The logs as a reader of them sees them: one line per event, nothing secret in it, whoever writes it."""

import asyncio
import base64
import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from app.config import settings_from
from app.redaction import HIDDEN, MAX_REMEMBERED, REDACTOR, Redactor
from app.telemetry import MAX_TEXT_CHARACTERS, configure_logs

LIBRARIES = (
    "azure.core.pipeline.policies.http_logging_policy",
    "azure.identity.aio",
    "aiohttp.client",
    "aiohttp.access",
    "asyncio",
    "msal",
    "picows",
    "uvicorn.error",
    "uvicorn.access",
    "websockets.client",
    "urllib3.connectionpool",
    "a.library.of.tomorrow",
)
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
API_KEY = "key-canary-4711"


class Log:
    """What a process would have written to standard output."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """The logs of a process at DEBUG, every library's too, which an operator cannot even ask for."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    root = logging.getLogger()
    before = root.handlers, root.level
    was_disabled = logging.getLogger("uvicorn.access").disabled
    configure_logs("DEBUG")
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).disabled = False
        # A gateway that ran in this process has cut off uvicorn's access log.
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    REDACTOR.hide(API_KEY)
    yield Log(stream)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    logging.getLogger("uvicorn.access").disabled = was_disabled
    logging.getLogger("uvicorn.error").filters.clear()
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    root.handlers, root.level = before
    structlog.reset_defaults()


class TestLines:
    @pytest.mark.parametrize(
        "hostile",
        [
            "one\r\ntwo",
            '"}\n{"level":"critical","event":"forged"',
            "\x1b[31mred\x1b[0m",
            "\u202egnihsifrof\u2066",
            "\u2028\u2029\x85\x0b\x0c\x00",
            "\ud800 alone",
            "\ufeff\u200b",
        ],
    )
    def test_a_hostile_text_is_one_line_and_shows_itself(self, log: Log, hostile: str) -> None:
        structlog.get_logger("app").info("event", value=hostile, **{f"key{hostile}": 1})
        logging.getLogger("aiohttp.client").warning("said %s", hostile)
        assert log.text.count("\n") == 2
        for line in log.lines:
            for text in (*line, *line.values()):
                assert not isinstance(text, str) or text.isprintable(), text

    @settings(max_examples=50)
    @given(st.text(), st.recursive(st.none() | st.floats() | st.integers() | st.binary(), st.lists))
    def test_any_value_is_one_line_of_json(self, text: str, value: object) -> None:
        stream = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            root = logging.getLogger()
            before = root.handlers, root.level
            hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
            try:
                configure_logs("INFO")
                structlog.get_logger("app").info("event", text=text, value=value)
            finally:
                root.handlers, root.level = before
                sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
                logging.captureWarnings(capture=False)
                structlog.reset_defaults()
        assert len(stream.getvalue().splitlines()) == 1
        assert json.loads(stream.getvalue())["event"] == "event"

    def test_a_long_text_is_cut_and_a_huge_one_is_only_measured(self, log: Log) -> None:
        structlog.get_logger("app").info("event", long="ab " * 1000, huge="ab " * 1_000_000)
        (line,) = log.lines
        assert len(line["long"]) < MAX_TEXT_CHARACTERS + 50
        assert "3000 characters" in line["long"]
        assert line["huge"] == "(3000000 characters)"

    def test_what_cannot_be_formatted_is_not_quoted(self, log: Log) -> None:
        # pytest's own handler would raise.
        (ours,) = (h for h in logging.getLogger().handlers if type(h).__module__ == "app.telemetry")
        ours.handle(logging.makeLogRecord({"name": "aiohttp.client", "msg": "%s %s", "args": (API_KEY,)}))
        assert log.lines == [{"level": "error", "event": "log.unusable_record", "logger": "aiohttp.client"}]

    def test_libraries_are_silent_below_a_warning(self, log: Log) -> None:
        configure_logs("DEBUG")
        for name in LIBRARIES:
            logging.getLogger(name).setLevel(logging.NOTSET)
            logging.getLogger(name).info("chatter")
        assert log.text == ""


CREDENTIALS = [
    "wss://h/voice-live/realtime?api-version=1&agent-access-token=canary-token&x=1",
    "wss://h/voice-live/realtime?api-key=canary-key",
    "GET /ws/voice?token=canary-token HTTP/1.1",
    "{'api-key': 'canary-key', 'Accept': '*/*'}",
    "<CIMultiDict('api-key': 'canary-key')>",
    "[(b'authorization', b'Bearer canary-token')]",
    "Authorization: Bearer canary-token",
    "authorization: Basic canarycanary=",
    '{"client_secret":"canary-secret"}',
    '{\\"client_secret\\": \\"canary-secret\\"}',
    "client_id=1&client_secret=canary-secret&grant_type=client_credentials",
    "Sec-WebSocket-Protocol: voice-live.v1, ticket.canary_ticket",
    "subprotocols=['voice-live.v1', 'resume.canary-ticket']",
    "Set-Cookie: canary-cookie",
    '< TEXT \'{"type":"user_transcript","text":"canary words"}\' [57 bytes]',
    "> BINARY ca na ry [960 bytes]",
    "call me at +49 (30) 901820-canary-00".replace("-canary-", ""),
    "call me at (555) 010-4477 today",
    "tel 0049 151 2345 6789",
]


@pytest.mark.parametrize("library", LIBRARIES)
class TestNetUnderEveryLogger:
    def test_a_message(self, log: Log, library: str) -> None:
        for text in CREDENTIALS:
            logging.getLogger(library).debug("prefix %s suffix", text)
        for line, text in zip(log.lines, CREDENTIALS, strict=True):
            assert HIDDEN in line["event"], text
        # The time of a line may hold any digits.
        said = str([line | {"timestamp": ""} for line in log.lines])
        for leak in ("canary", "ca na ry", "901820", "4477", "6789"):
            assert leak not in said

    def test_our_own_secrets_in_every_spelling(self, log: Log, library: str) -> None:
        REDACTOR.hide('pass/word "quoted" & more')
        logger = logging.getLogger(library)
        logger.error("%s and %r", 'pass/word "quoted" & more', 'pass/word "quoted" & more')
        logger.error("?q=pass%2Fword%20%22quoted%22%20%26%20more&r=pass%2Fword+%22quoted%22+%26+more")
        assert "quoted" not in log.text

    def test_an_exception_with_its_traceback(self, log: Log, library: str) -> None:
        try:
            try:
                int(API_KEY)
            except ValueError as error:
                raise ExceptionGroup("both", [error, KeyError(JWT)]) from error
        except ExceptionGroup:
            logging.getLogger(library).exception("failed with %s", API_KEY, stack_info=True)
        (line,) = log.lines
        assert "Traceback" in line["exception"]
        assert "test_telemetry.py" in line["exception"]
        assert line["exception"].count(HIDDEN) >= 3
        # The line of source that failed is shown, with the name of a constant and not its value.
        assert API_KEY not in log.text
        assert JWT not in log.text


class TestWhatIsHidden:
    @pytest.mark.parametrize("secret", [JWT, base64.urlsafe_b64encode(os.urandom(32)).decode(), "0af1" * 16])
    def test_tokens_by_their_shape(self, secret: str) -> None:
        assert Redactor().redact(f"x {secret} y") == f"x {HIDDEN} y"

    @pytest.mark.parametrize(
        "harmless",
        [
            "the call 0123456789abcdef0123456789abcdef has ended after 1740.5 s",
            "api-version 2026-07-15, port 8000, 192.168.100.100:51234, sess_0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef at 2026-11-28T12:34:56.789012Z",
            'File "/srv/app/voicelive/connection.py", line 1203, in open',
            "the token endpoint is not reachable",
            "voice-live.v1",
        ],
    )
    def test_what_an_operator_needs_stays(self, harmless: str) -> None:
        assert Redactor().redact(harmless) == harmless

    def test_every_secret_setting(self) -> None:
        ours = settings_from(
            {
                "azure_voicelive_endpoint": "https://r.services.ai.azure.com",
                "azure_voicelive_project_name": "p",
                "azure_voicelive_agent_id": "a",
                "azure_voicelive_api_key": "canary-of-key",
                "azure_tenant_id": "t",
                "azure_client_id": "c",
                "azure_client_secret": "canary-of-secret",
                "azure_voicelive_voice_name": "v",
                "azure_voicelive_voice_endpoint_id": "e",
            }
        )
        redactor = Redactor()
        redactor.hide_settings(ours)
        assert "canary" not in redactor.redact("canary-of-key, canary-of-secret")

    def test_tokens_that_pass_are_not_kept_for_ever(self) -> None:
        redactor = Redactor()
        redactor.hide("a lasting secret")
        for number in range(MAX_REMEMBERED + 1):
            redactor.hide(f"passing {number:03}", passing=True)
        assert redactor.redact("passing 000, passing 001, a lasting secret") == (
            f"passing 000, {HIDDEN}, {HIDDEN}"
        )


class TestHooks:
    def test_a_failure_of_the_process_and_of_a_thread(self, log: Log) -> None:
        error = RuntimeError(API_KEY)
        sys.excepthook(RuntimeError, error, None)
        thread = threading.Thread(target=lambda: (_ for _ in ()).throw(error))
        thread.start()
        thread.join()
        assert [line["event"] for line in log.lines] == ["process.failed", "thread.failed"]
        assert API_KEY not in log.text

    async def test_the_event_loop(self, log: Log) -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "failed", "exception": RuntimeError(API_KEY)})
        assert "failed" in log.lines[0]["event"]
        assert API_KEY not in log.text

    async def test_aiohttps_own_text_of_a_refused_handshake(self, log: Log) -> None:
        async with aiohttp.ClientSession() as http:
            try:
                await http.ws_connect(f"ws://127.0.0.1:1/?agent-access-token={API_KEY}")
            except aiohttp.ClientError:
                logging.getLogger("aiohttp.client").exception("no connection")
        assert "exception" in log.lines[0]
        assert API_KEY not in log.text
