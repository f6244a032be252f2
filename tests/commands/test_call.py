"""`voice-live call` against a gateway that plays a script: what it says, when it hangs up, how it exits."""

import asyncio
import http
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from app.commands.call import Call, CallResult, hold
from app.commands.call_log import Entry
from tests.played_gateway import Gateway, StartGateway
from voicelive_client.speech import FRAME_BYTES, read_wav, write_wav

VOICE = b"\x10\x20" * 480
SPOKEN = VOICE * 10
COMMAND = Path(sys.executable).with_name("voice-live")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.commands.call.QUIET_S", 0.2)


@dataclass
class Agent:
    """The gateway's part of a usual call."""

    gateway: Gateway
    heard: bytearray = field(default_factory=bytearray)

    async def starts(self) -> None:
        await self.gateway.tells(type="session_started", session_id="s1")
        await self.gateway.tells(type="status", status="ready")

    async def says(self, response_id: str, pcm: bytes, text: str) -> None:
        await self.gateway.speaks(response_id, pcm)
        report = await self.gateway.receives()
        assert report == {"type": "playback", "response_id": response_id, "played_ms": len(pcm) // 48}
        await self.gateway.tells(type="agent_transcript", response_id=response_id, text=text)
        await self.gateway.tells(type="status", status="ready")

    async def listens_to(self, words: bytes) -> None:
        """Waits until the caller has said this."""
        frames = bytearray()
        while words not in frames:
            frames += await self.gateway.receives_audio()
        self.heard += frames

    async def understands(self, text: str) -> None:
        await self.gateway.tells(type="status", status="processing")
        await self.gateway.tells(type="user_transcript", text=text)

    async def is_hung_up_on(self) -> None:
        assert await self.gateway.receives() == {"type": "end"}
        await self.gateway.tells(type="session_ended", reason="client")
        await self.gateway.socket.close()


async def make(call: Call) -> tuple[CallResult, list[Entry]]:
    entries: list[Entry] = []
    return await hold(call, entries.append), entries


def texts(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.kind, entry.text) for entry in entries if entry.kind != "answered"]


async def usual_call(gateway: Gateway) -> None:
    agent = Agent(gateway)
    await agent.starts()
    await agent.says("r1", b"\1\1" * 2400, "Hello.")
    await agent.listens_to(SPOKEN)
    assert SPOKEN[:FRAME_BYTES] not in agent.heard[: agent.heard.find(SPOKEN)]
    await agent.understands("How much?")
    await agent.says("r2", b"\2\2" * 2400, "39 dollars.")
    await agent.is_hung_up_on()


async def test_the_caller_speaks_after_the_greeting_and_hangs_up_after_the_answer(
    start_gateway: StartGateway,
) -> None:
    async with start_gateway(usual_call) as url:
        result, entries = await make(Call(url, speech=SPOKEN))
    assert result.failure is None
    assert len(result.latencies_ms) == 1
    assert texts(entries) == [
        ("call", "connected"),
        ("agent", "Hello."),
        ("caller", "How much?"),
        ("agent", "39 dollars."),
        ("call", "closed (1000)"),
    ]
    assert result.heard.startswith(b"\1\1" * 2400)
    assert result.heard.endswith(b"\2\2" * 2400)


async def test_a_caller_in_a_hurry_speaks_into_the_greeting(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        agent = Agent(gateway)
        await agent.starts()
        await gateway.speaks("r1", b"\1\1" * 24_000 * 60)
        await agent.listens_to(SPOKEN)
        await gateway.tells(type="status", status="listening")
        await gateway.tells(type="clear_playback", response_id="r1")
        report = await gateway.receives()
        await gateway.tells(
            type="agent_transcript", response_id="r1", text="Hello you.", interrupted=True, heard_text="Hello"
        )
        await agent.understands("How much?")
        await agent.says("r2", b"\2\2" * 2400, "39 dollars.")
        cut_ms.append(report["played_ms"])
        await agent.is_hung_up_on()

    cut_ms: list[object] = []
    async with start_gateway(script) as url:
        result, entries = await make(Call(url, speech=SPOKEN, after_greeting=False))
    assert result.failure is None
    assert Entry(entries[1].at_s, "agent", "Hello", interrupted=True) == entries[1]
    greeting, _, answer = result.heard.partition(bytes(14_400))
    assert len(greeting) // 48 == cut_ms[0]
    assert answer == b"\2\2" * 2400


async def test_an_agent_that_waits_for_the_caller_is_spoken_to(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.commands.call.GREETING_WAIT_S", 0.1)

    async def script(gateway: Gateway) -> None:
        agent = Agent(gateway)
        await agent.starts()
        await agent.listens_to(SPOKEN)
        await agent.understands("Hello?")
        await agent.says("r1", b"\1\1" * 480, "Hello.")
        await agent.is_hung_up_on()

    async with start_gateway(script) as url:
        result, _ = await make(Call(url, speech=SPOKEN))
    assert result.failure is None


async def test_a_typed_turn_is_answered(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        agent = Agent(gateway)
        await agent.starts()
        await agent.says("r1", b"\1\1" * 480, "Hello.")
        assert await gateway.receives() == {"type": "text", "text": "How much?"}
        await gateway.tells(type="status", status="processing")
        await agent.says("r2", b"\2\2" * 480, "39 dollars.")
        await agent.is_hung_up_on()

    async with start_gateway(script) as url:
        result, entries = await make(Call(url, text="How much?"))
    assert result.failure is None
    assert ("caller", "How much?") in texts(entries)


async def test_an_agent_that_never_answers_is_a_failure(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.commands.call.ANSWER_WAIT_S", 0.5)

    async def script(gateway: Gateway) -> None:
        agent = Agent(gateway)
        await agent.starts()
        await agent.says("r1", b"\1\1" * 480, "Hello.")
        await agent.listens_to(SPOKEN)
        await agent.understands("How much?")
        await agent.is_hung_up_on()

    async with start_gateway(script) as url:
        result, _ = await make(Call(url, speech=SPOKEN))
    assert result.failure is not None
    assert "did not answer" in result.failure


async def test_the_last_turn_must_be_answered_too(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.commands.call.ANSWER_WAIT_S", 0.5)

    async def script(gateway: Gateway) -> None:
        agent = Agent(gateway)
        await agent.starts()
        await agent.listens_to(VOICE)
        await agent.understands("How much?")
        await gateway.speaks("r1", b"\1\1" * 480)
        await agent.understands("And the contract?")
        assert (await gateway.receives())["type"] == "playback"
        await agent.is_hung_up_on()

    async with start_gateway(script) as url:
        result, _ = await make(Call(url, speech=SPOKEN, after_greeting=False))
    assert result.failure is not None
    assert "did not answer" in result.failure


@pytest.mark.parametrize("after_answer", [False, True])
async def test_a_call_that_breaks_fails_with_what_the_gateway_said(
    start_gateway: StartGateway, after_answer: bool
) -> None:
    async def script(gateway: Gateway) -> None:
        agent = Agent(gateway)
        await agent.starts()
        if after_answer:
            await agent.listens_to(SPOKEN)
            await agent.understands("How much?")
            await agent.says("r1", b"\1\1" * 480, "39 dollars.")
        await gateway.tells(type="error", code="upstream_lost", message="The line was lost.", fatal=True)
        await gateway.socket.close(1014, "upstream_lost")

    async with start_gateway(script) as url:
        result, entries = await make(Call(url, speech=SPOKEN))
    assert result.failure == "The line was lost."
    assert ("call", "closed (1014, upstream_lost)") in texts(entries)


async def test_a_connection_that_is_cut_in_mid_sentence_fails_with_its_code(
    start_gateway: StartGateway,
) -> None:
    async def script(gateway: Gateway) -> None:
        await Agent(gateway).starts()
        await gateway.receives_audio()
        gateway.socket.transport.abort()

    async with start_gateway(script) as url:
        result, _ = await make(Call(url, speech=SPOKEN * 100, after_greeting=False))
    assert result.failure == "The gateway closed the call (code 1006)."


@dataclass(frozen=True)
class Finished:
    """What the command printed, and its exit status."""

    status: int | None
    output: str
    errors: str


async def voice_live_call(*arguments: str) -> Finished:
    process = await asyncio.create_subprocess_exec(
        COMMAND, "call", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    return Finished(process.returncode, output.decode(), errors.decode())


@pytest.fixture
def speech_file(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    write_wav(path, SPOKEN)
    return path


async def test_the_command_shows_the_call_and_saves_what_was_heard(
    start_gateway: StartGateway, speech_file: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "reply.wav"
    async with start_gateway(usual_call) as url:
        call = await voice_live_call(str(speech_file), "--url", url, "--save", str(saved))
    assert call.status == 0, call.errors
    assert "agent     Hello." in call.output
    assert "caller    How much?" in call.output
    assert "1 answer; from the caller's last sound" in call.output
    assert call.errors == ""
    assert read_wav(saved).endswith(b"\2\2" * 2400)


async def test_a_reply_that_cannot_be_saved_is_said(start_gateway: StartGateway, speech_file: Path) -> None:
    async with start_gateway(usual_call) as url:
        call = await voice_live_call(str(speech_file), "--url", url, "--save", str(speech_file / "reply.wav"))
    assert call.status == 1
    assert "reply.wav cannot be written" in call.errors
    assert "Traceback" not in call.errors


async def test_the_command_speaks_json(start_gateway: StartGateway, speech_file: Path) -> None:
    async with start_gateway(usual_call) as url:
        call = await voice_live_call(str(speech_file), "--url", url, "--json")
    lines = [json.loads(line) for line in call.output.splitlines()]
    assert [line["kind"] for line in lines] == [
        *("call", "agent", "caller", "answered", "agent", "call", "summary")
    ]
    assert lines[3]["latency_ms"] == lines[-1]["median_latency_ms"]
    assert lines[-1]["answers"] == 1


async def test_a_refused_call_exits_1_and_says_why(speech_file: Path) -> None:
    def refuse(server: ServerConnection, _: Request) -> Response:
        body = json.dumps({"error": {"code": "capacity", "message": "All lines are busy."}})
        response = server.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, body)
        response.headers["Retry-After"] = "5"
        return response

    async def never(_: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        call = await voice_live_call(str(speech_file), "--url", f"ws://127.0.0.1:{port}/ws/voice", "--json")
        assert call.status == 1
        assert call.errors == "The call was refused (HTTP 503: All lines are busy.). Try again in 5 s.\n"
        assert json.loads(call.output)["kind"] == "failure"


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["nobody.wav"], 1, "nobody.wav does not exist"),
        ([str(Path(__file__))], 1, "is not a PCM WAV file"),
        (
            ["--text", "Hi", "--url", "ws://127.0.0.1:1/ws/voice"],
            1,
            "Start the gateway with `voice-live demo`",
        ),
        ([], 2, "Name one WAV file, or give --text or --mic."),
        (["--mic", "--save", "x.wav"], 2, "--save and --now are for a call with recorded speech."),
        (["x.wav", "--mic"], 2, "Name one WAV file, or give --text or --mic."),
        (["x.wav", "--text", "Hi"], 2, "Name one WAV file, or give --text or --mic."),
    ],
)
async def test_what_cannot_be_called_exits_with_a_clear_line(
    arguments: list[str], status: int, complaint: str
) -> None:
    call = await voice_live_call(*arguments)
    assert call.status == status
    assert complaint in " ".join(call.errors.split())
    assert "Traceback" not in call.errors
