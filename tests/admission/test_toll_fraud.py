"""Strangers at the gateway's own process cost nothing: no session of Voice Live, and no token."""

import asyncio
import ssl
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Thread

import aiohttp
import trustme
from aiohttp import web

from app.admission.tickets import new_ticket
from tests.admission.bank import API_KEY, SHOP, VARIABLES, bearing, offering, ticket
from tests.gateway import RunningGateway
from tests.modes import PRINCIPAL, VOICE
from tests.processes import GatewayProcess, gateway_process
from tests.scripted_voice_live import ScriptedVoiceLive
from tests.test_main import quiet, upgrade

HANDSHAKES = 2_000
AT_ONCE = 50
TOO_SLOW = 503
"""On a busy machine the store can take longer than a caller is made to wait; then nobody is let in."""

PATIENCE = 10
FROM_SHOP = ("Origin", SHOP)

Headers = list[tuple[str, str]]


class CountingCloud:
    """Voice Live and Entra over TLS, which count who comes."""

    def __init__(self) -> None:
        self.voice_live = ScriptedVoiceLive(quiet)
        self.tokens = 0
        self.has_minted = asyncio.Event()
        self.address = ""
        self.certificate_file = ""

    async def mint(self, request: web.Request) -> web.Response:
        self.tokens += 1
        self.has_minted.set()
        return web.json_response(
            {"access_token": "token-canary", "expires_in": 86_400, "token_type": "Bearer"}
        )

    def variables(self) -> dict[str, str]:
        """Those of a gateway in classic mode, which needs a key and a token."""
        return {
            **VOICE,
            **PRINCIPAL,
            "AZURE_VOICELIVE_ENDPOINT": self.address,
            "AZURE_VOICELIVE_PROJECT_NAME": "sales",
            "AZURE_VOICELIVE_AGENT_ID": "asst_1",
            "AZURE_VOICELIVE_API_KEY": "key-canary",
            "AZURE_AUTHORITY_HOST": self.address,
            "SSL_CERT_FILE": self.certificate_file,
        }


@asynccontextmanager
async def counting_cloud() -> AsyncIterator[CountingCloud]:
    """One on a free port."""
    cloud = CountingCloud()
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    application = web.Application()
    application.router.add_post("/{path:.*}", cloud.mint)
    application.router.add_get("/{path:.*}", cloud.voice_live.handle)
    runner = web.AppRunner(application, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(file)
        cloud.address = f"https://localhost:{runner.addresses[0][1]}"
        cloud.certificate_file = str(file)
        try:
            yield cloud
        finally:
            await runner.cleanup()


class Strangers:
    """Every kind of handshake that must be refused, and the status that each is refused with."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self.kinds: dict[str, tuple[int, Callable[[], Awaitable[Headers]]]] = {
            "nothing": (401, self.nothing),
            "no ticket": (401, self.no_ticket),
            "no such ticket": (401, self.no_such_ticket),
            "no ticket at all": (401, self.malformed),
            "the API key": (401, self.api_key),
            "a used ticket": (401, self.used),
            "two tickets": (401, self.two),
            "a ticket of another page": (403, self.of_another_page),
            "a ticket without the page": (403, self.without_page),
            "another page": (403, self.another_page),
            "no page": (403, self.null_page),
            "another host": (400, self.another_host),
            "a lost call": (401, self.resume),
            "somebody else's address": (401, self.spoofed),
        }

    async def nothing(self) -> Headers:
        return []

    async def no_ticket(self) -> Headers:
        return [FROM_SHOP]

    async def no_such_ticket(self) -> Headers:
        return [FROM_SHOP, offering(new_ticket())]

    async def malformed(self) -> Headers:
        return [FROM_SHOP, offering("x")]

    async def api_key(self) -> Headers:
        return [bearing(API_KEY)]

    async def used(self) -> Headers:
        shown = [FROM_SHOP, offering(await ticket(self._gateway))]
        await handshake(self._gateway, [("Origin", self._gateway.address), shown[1]])
        return shown

    async def two(self) -> Headers:
        return [FROM_SHOP, offering(await ticket(self._gateway), await ticket(self._gateway))]

    async def of_another_page(self) -> Headers:
        return [("Origin", self._gateway.address), offering(await ticket(self._gateway))]

    async def without_page(self) -> Headers:
        return [offering(await ticket(self._gateway))]

    async def another_page(self) -> Headers:
        return [("Origin", "https://evil.example.net"), offering(await ticket(self._gateway))]

    async def null_page(self) -> Headers:
        return [("Origin", "null"), offering(await ticket(self._gateway))]

    async def another_host(self) -> Headers:
        return [("Host", "evil.example.net"), bearing(await ticket(self._gateway))]

    async def resume(self) -> Headers:
        return [FROM_SHOP, ("Sec-WebSocket-Protocol", f"voice-live.v1, resume.{new_ticket()}")]

    async def spoofed(self) -> Headers:
        return [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "localhost"), FROM_SHOP]


@contextmanager
def log_read_away(gateway: GatewayProcess) -> Iterator[None]:
    """A line for each stranger would fill the pipe, and stop the gateway."""
    assert gateway.process.stdout is not None
    reader = Thread(target=deque, args=(gateway.process.stdout, 0))
    reader.start()
    try:
        yield
    finally:
        gateway.process.terminate()
        reader.join(20)


async def handshake(gateway: RunningGateway, headers: Headers) -> int:
    """Its status."""
    sent = [*upgrade().items(), *headers]
    async with gateway.http.get(f"{gateway.address}/ws/voice", headers=sent) as answer:
        return answer.status


async def test_two_thousand_strangers_of_every_kind_cost_nothing() -> None:
    async with counting_cloud() as cloud:
        variables = cloud.variables() | VARIABLES | {"TRUSTED_HOSTS": "127.0.0.1"}
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        with gateway_process(variables) as process, log_read_away(process):
            async with aiohttp.ClientSession(connector=connector) as http:
                gateway = RunningGateway(process.address, http)
                # The gateway mints one ahead of its first caller.
                async with asyncio.timeout(30):
                    await cloud.has_minted.wait()
                strangers = Strangers(gateway)
                wrong: Counter[tuple[str, int]] = Counter()
                places = asyncio.Semaphore(AT_ONCE)

                async def come(kind: str) -> None:
                    wanted, headers = strangers.kinds[kind]
                    async with places:
                        status = await handshake(gateway, await headers())
                    if status != wanted:
                        wrong[kind, status] += 1

                kinds = list(strangers.kinds)
                async with asyncio.TaskGroup() as crowd:
                    for number in range(HANDSHAKES):
                        crowd.create_task(come(kinds[number % len(kinds)]))
                assert not wrong
                assert not cloud.voice_live.handshakes
                assert cloud.tokens == 1
                # The next one with a ticket is served.
                async with gateway.caller(headers=dict([bearing(await ticket(gateway))])) as caller:
                    await caller.until("session_started")
                assert len(cloud.voice_live.handshakes) == 1


async def test_one_ticket_used_two_hundred_times_at_once_at_two_processes_makes_one_call(
    tmp_path: Path,
) -> None:
    async with counting_cloud() as cloud:
        variables = cloud.variables() | VARIABLES | {"ADMISSION_STORE_FILE": str(tmp_path / "admission.db")}
        with gateway_process(variables) as one, gateway_process(variables) as two:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                gateways = [RunningGateway(process.address, http) for process in (one, two)]
                opened: list[aiohttp.ClientWebSocketResponse[bool]] = []
                for _ in range(PATIENCE):
                    opened, refused = await crowd_with_one_ticket(gateways)
                    assert len(opened) <= 1
                    assert set(refused) <= {401, TOO_SLOW}
                    if opened:
                        break
                async with asyncio.timeout(30):
                    assert (await opened[0].receive_json())["type"] == "session_started"
                assert len(cloud.voice_live.handshakes) == 1
                await opened[0].close()


async def crowd_with_one_ticket(
    gateways: list[RunningGateway],
) -> tuple[list[aiohttp.ClientWebSocketResponse[bool]], Counter[int]]:
    """Two hundred callers at once with the same ticket: who got in, and how the others were refused."""
    headers = dict([bearing(await ticket(gateways[0]))])
    opened: list[aiohttp.ClientWebSocketResponse[bool]] = []
    refused: Counter[int] = Counter()

    async def call(gateway: RunningGateway) -> None:
        try:
            opened.append(await gateway.http.ws_connect(f"{gateway.address}/ws/voice", headers=headers))
        except aiohttp.WSServerHandshakeError as error:
            refused[error.status] += 1

    async with asyncio.TaskGroup() as tries:
        for number in range(200):
            tries.create_task(call(gateways[number % len(gateways)]))
    return opened, refused


async def test_limits_count_over_two_processes(tmp_path: Path) -> None:
    async with counting_cloud() as cloud:
        variables = cloud.variables() | VARIABLES | {"ADMISSION_STORE_FILE": str(tmp_path / "admission.db")}
        variables |= {"MAX_CALLS_PER_SUBJECT": "1"}
        with gateway_process(variables) as one, gateway_process(variables) as two:
            async with aiohttp.ClientSession() as http:
                here, there = (RunningGateway(process.address, http) for process in (one, two))
                caller = await patiently_opened(here)
                assert (await caller.receive_json(timeout=30))["type"] == "session_started"
                statuses = [await handshake(there, [bearing(await ticket(here))]) for _ in range(PATIENCE)]
                assert set(statuses) <= {429, TOO_SLOW}
                assert 429 in statuses
                await caller.close()


async def patiently_opened(gateway: RunningGateway) -> aiohttp.ClientWebSocketResponse[bool]:
    """A call with a new ticket, tried again where the store was too slow."""
    for _ in range(PATIENCE):
        headers = dict([bearing(await ticket(gateway))])
        try:
            return await gateway.http.ws_connect(f"{gateway.address}/ws/voice", headers=headers)
        except aiohttp.WSServerHandshakeError as error:
            if error.status != TOO_SLOW:
                raise
    raise AssertionError("the store was too slow each time")
