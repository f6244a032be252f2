"""Canaries stand for everything that is private. After a good call and after every fault they are nowhere.

Searched: the log at DEBUG with standard error, every frame to the caller, every endpoint and page. Only the
caller's own transcript messages may hold their own words.
"""

import asyncio
import hashlib
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web

from tests.gateway import RawCaller, RunningGateway
from tests.polling import until
from tests.processes import PROJECT
from tests.reliability.faults import FAULTS
from tests.reliability.scene import Agent, Phase, Scene
from tests.reliability.toxic_proxy import toxic_proxy
from tests.scripted_voice_live import scripted_voice_live

API_KEY = "canary-0f-the-api-key"
SECRET = "canary-0f-the-client-secret"
TOKEN = "canary.0f_the-minted.token"
OPERATOR_KEY = "canary-0f-the-operator"
PROMPT = "canary 0f the prompt"
WORDS = "canary 0f the words and +49 30 5550 1234"
PHONE = "5550 1234"
UPSTREAM_TEXT = "canary 0f upstream text"
LEAKS = ("canary", "0f the", PHONE, "30 5550")
TRANSCRIPTS = {"user_transcript", "user_transcript_delta", "agent_transcript", "agent_transcript_delta"}

PATHS = (
    *("/", "/health", "/ready", "/docs", "/redoc", "/openapi.json", "/metrics", "/nowhere", "/ws/voice"),
    *("/static/main.js", "/static/client/call.js", "/static/../config.py", "/api/tickets", "/api/nowhere"),
)
CALL_S = 3
SLOW = {
    *("upstream half-open", "caller half-open", "caller too slow", "caller stops reading", "caller silent"),
    *("caller at twenty times real time", "the loop blocks", "the clock jumps"),
}
"""These take their full time here, in a process of its own, and say nothing that the others do not. Faults of
the cloud and of names need the gateway in this process."""


@asynccontextmanager
async def token_endpoint(certificate: trustme.LeafCert) -> AsyncIterator[str]:
    """Entra, as far as a service principal sees it. Its first answer is a refusal that quotes too much."""
    asked = 0

    async def mint(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            refusal = {"error": "invalid_client", "error_description": f"{UPSTREAM_TEXT} {SECRET}"}
            return web.json_response(refusal, status=401)
        return web.json_response({"token_type": "Bearer", "expires_in": 86_400, "access_token": TOKEN})

    application = web.Application()
    application.router.add_post("/{tenant}/oauth2/v2.0/token", mint)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(tls)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Words(Agent):
    """An agent that repeats the caller's private words, and whose errors quote everything."""

    async def speaks_privately(self, caller: RawCaller) -> None:
        session = await self.now()
        heard = {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_1",
            "content_index": 0,
            "transcript": WORDS,
        }
        await session.send(
            {"type": "input_audio_buffer.speech_started", "item_id": "item_1", "audio_start_ms": 0},
            {"type": "input_audio_buffer.speech_stopped", "item_id": "item_1", "audio_end_ms": 500},
            heard,
        )
        await caller.until("user_transcript", text=WORDS)
        error = {"type": "server_error", "code": WORDS, "message": f"{UPSTREAM_TEXT} {API_KEY}"}
        await session.send({"type": "error", "error": error}, {"type": WORDS, UPSTREAM_TEXT: API_KEY})
        await session.socket.send_str(f'{{"{UPSTREAM_TEXT}')


@asynccontextmanager
async def gateway_with_log(log: Path, variables: dict[str, str]) -> AsyncIterator[RunningGateway]:
    """The gateway as a process, everything that it writes in one file."""
    environment = {"APP_HOST": "127.0.0.1", "APP_PORT": "0", "LOG_LEVEL": "DEBUG", **variables}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.main"),
            cwd=PROJECT / "tests",
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **environment},
            stdout=output,
            stderr=output,
        )
    try:
        await until(lambda: process.returncode is not None or ready_lines(log), 60)
        assert process.returncode is None, lines_of(log)
        async with aiohttp.ClientSession() as http:
            yield RunningGateway(f"http://127.0.0.1:{ready_lines(log)[0]['port']}", http)
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def ready_lines(log: Path) -> list[dict[str, Any]]:
    return [line for line in lines_of(log) if line["event"] == "gateway.ready"]


def leaks_in(text: str) -> list[str]:
    """The canaries in a text, each with what is around it."""
    low = text.lower()
    return [text[max(0, low.index(leak) - 200) :][:400] for leak in LEAKS if leak.lower() in low]


def private(caller: RawCaller) -> str:
    """Everything that a caller got, without the words of their transcripts."""
    return json.dumps(
        [
            {**message, "text": None, "heard_text": None} if message["type"] in TRANSCRIPTS else message
            for message in caller.messages
        ]
    )


async def assert_endpoints_say_nothing(gateway: RunningGateway, ticket: str | None) -> None:
    for path in PATHS:
        for method in ("GET", "POST", "OPTIONS"):
            async with gateway.http.request(method, gateway.address + path) as response:
                said = f"{response.headers} {await response.text()}"
            assert not leaks_in(said), (method, path)
            assert ticket is None or ticket not in said


class Sweep:
    """One gateway, called again and again while everything goes wrong in turn."""

    def __init__(self, on: Scene, operator_key: str | None) -> None:
        self._on = on
        self._operator_key = operator_key
        self.tickets: list[str] = []

    async def call(self, act: Any, then_hang_up: bool) -> None:
        """One call in which `act` happens; nothing private is in its frames."""
        protocols = ["voice-live.v1"]
        if self._operator_key is not None:
            protocols.append(f"ticket.{await self._ticket()}")
        url = f"{self._on.downstream.address}/ws/voice"
        origin = self._on.downstream.address
        async with self._on.gateway.http.ws_connect(url, protocols=protocols, origin=origin) as socket:
            caller = RawCaller(socket)
            with suppress(AssertionError, OSError, TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(CALL_S):
                    await act(caller)
                    if then_hang_up:
                        await caller.send(type="end")
                    await caller.until_closed()
            said = private(caller) + str(socket._response.headers)
            self._on.upstream.reset()
            self._on.downstream.reset()
        assert not leaks_in(said)
        assert not [ticket for ticket in self.tickets if ticket in said]
        self._on.service.refuse_with = None
        self._on.upstream.refuses = False
        for toxics in (self._on.upstream, self._on.downstream):
            toxics.to_client.__init__()  # type: ignore[misc]
            toxics.to_server.__init__()  # type: ignore[misc]

    async def _ticket(self) -> str:
        headers = {"Authorization": f"Bearer {self._operator_key}"}
        url = f"{self._on.gateway.address}/api/tickets"
        asked = {"subject": "s", "origin": self._on.downstream.address}
        async with self._on.gateway.http.post(url, headers=headers, json=asked) as response:
            self.tickets.append((await response.json())["ticket"])
        return self.tickets[-1]


@pytest.mark.parametrize("mode", ["classic with tickets", "model"])
async def test_sweep(mode: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    log = tmp_path / "log"
    prompt = tmp_path / "prompt"
    prompt.write_text(PROMPT)
    agent = Words()
    agent.opening.set()
    async with (
        token_endpoint(authority.issue_cert("localhost")) as entra,
        scripted_voice_live(agent.play) as service,
        toxic_proxy(service.port) as upstream,
    ):
        variables = {
            "AZURE_VOICELIVE_ENDPOINT": upstream.address,
            "AZURE_VOICELIVE_API_KEY": API_KEY,
            "AZURE_VOICELIVE_VOICE_TYPE": "openai",
            "AZURE_VOICELIVE_VOICE_NAME": "alloy",
            "GREETING_TEXT": PROMPT,
            "SSL_CERT_FILE": str(trusted),
        }
        if mode == "model":
            variables |= {"AZURE_VOICELIVE_MODEL": "m", "AZURE_VOICELIVE_INSTRUCTIONS_FILE": str(prompt)}
        else:
            variables |= {
                "AZURE_VOICELIVE_AGENT_ID": "agent",
                "AZURE_VOICELIVE_PROJECT_NAME": "project",
                "AZURE_TENANT_ID": "tenant",
                "AZURE_CLIENT_ID": "client",
                "AZURE_CLIENT_SECRET": SECRET,
                "AZURE_AUTHORITY_HOST": entra,
                "CLIENT_AUTH": "ticket",
                "TICKET_API_KEY_HASHES": hashlib.sha256(OPERATOR_KEY.encode()).hexdigest(),
            }
        async with gateway_with_log(log, variables) as gateway:
            port = int(gateway.address.rpartition(":")[2])
            async with toxic_proxy(port) as downstream:
                on = Scene(service, agent, upstream, gateway, downstream)
                sweep = Sweep(on, None if mode == "model" else OPERATOR_KEY)
                if mode != "model":
                    await until(lambda: "token.unavailable" in log.read_text())
                await sweep_everything(on, sweep)
                await assert_endpoints_say_nothing(gateway, sweep.tickets[-1] if sweep.tickets else None)
        url = str(service.handshakes[0].url)
        assert mode == "model" or TOKEN in url, "the canary was never there"
        assert service.handshakes[0].headers["api-key"] == API_KEY
    written = log.read_text()
    assert not leaks_in(json.dumps([line | {"timestamp": ""} for line in lines_of(log)]))
    assert not [ticket for ticket in sweep.tickets if ticket in written]
    assert all(json.loads(line) for line in written.splitlines())
    ended = [line for line in lines_of(log) if line["event"] == "call.ended"]
    assert len(ended) > len([fault for fault in FAULTS if Phase.BEFORE not in fault.phases]) - len(SLOW)


async def sweep_everything(on: Scene, sweep: Sweep) -> None:
    """A good call, then every fault, in turn."""
    agent = on.agent
    assert isinstance(agent, Words)

    async def converses(caller: RawCaller) -> None:
        await caller.until("session_started")
        await agent.speaks_privately(caller)
        await on.turn(caller)

    await sweep.call(converses, then_hang_up=True)
    assert agent.responses
    # Failed openings come last: they open the circuit, and then no call gets so far.
    for fault in sorted(FAULTS, key=lambda fault: Phase.BEFORE in fault.phases):
        if fault.name in SLOW or fault.in_the_cloud or fault.number == "F5":
            continue

        async def suffers(caller: RawCaller, fault: Any = fault) -> None:
            on.response_id = None
            if Phase.BEFORE not in fault.phases:
                await on.reach(Phase.SPEAKING, caller)
                await agent.speaks_privately(caller)
            await fault.inject(on, caller)

        if Phase.BEFORE in fault.phases:
            await fault.inject(on, RawCaller.__new__(RawCaller))
            await sweep.call(lambda caller: caller.until_closed(), then_hang_up=False)
        else:
            await sweep.call(suffers, then_hang_up=True)
