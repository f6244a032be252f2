"""Clients that hold connections and say nothing, little, or too much before they are callers."""

import asyncio
import contextlib
from contextlib import AsyncExitStack
from ipaddress import ip_network

import pytest
from fastapi import FastAPI

from app.websocket import http_protocol
from app.websocket.http_protocol import OpenConnections
from tests.websocket.raw_client import REQUEST, raw_client, running_app

GET = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


def hello() -> FastAPI:
    api = FastAPI()

    @api.get("/hello")
    async def hello() -> str:
        return "hello"

    @api.post("/words")
    async def words(body: dict[str, str]) -> dict[str, str]:
        return body

    @api.get("/much")
    async def much() -> str:
        return "x" * 10_000_000

    return api


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_TIMEOUT_S", 1.5)
    monkeypatch.setattr(http_protocol, "RESPONSE_TIMEOUT_S", 1.5)


class TestSlowClients:
    async def test_a_hundred_are_dropped_and_a_good_one_is_served_meanwhile(self, soon: None) -> None:
        async with running_app(hello()) as port, AsyncExitStack() as open_clients:
            slow = [await open_clients.enter_async_context(raw_client(port)) for _ in range(100)]
            for number, client in enumerate(slow):
                client.send([b"", b"GET /hel", GET[:-2], REQUEST[:-2]][number % 4])
            async with raw_client(port) as client:
                assert (await client.shake_hands(GET)).startswith(b"HTTP/1.1 200 ")
            for client in slow:
                await client.until_gone()

    async def test_a_request_dribbled_byte_by_byte_is_not_given_more_time(self, soon: None) -> None:
        async with running_app(hello()) as port, raw_client(port) as client:

            async def dribble() -> None:
                for byte in GET[:-1] * 1000:
                    client.send(bytes([byte]))
                    await asyncio.sleep(0.02)

            dribbling = asyncio.create_task(dribble())
            await client.until_gone()
            dribbling.cancel()
            await asyncio.wait([dribbling])

    async def test_nor_is_a_body(self, soon: None) -> None:
        async with running_app(hello()) as port, raw_client(port) as client:
            client.send(b"POST /words HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            await client.until_gone()

    async def test_nor_a_second_request_on_the_same_connection(self, soon: None) -> None:
        async with running_app(hello()) as port, raw_client(port) as client:
            await client.shake_hands(GET)
            await client.reader.readexactly(len('"hello"'))
            client.send(GET[:10])
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
            await client.until_gone()

    async def test_a_client_that_does_not_read_the_answer(self, soon: None) -> None:
        async with running_app(hello()) as port, raw_client(port) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(GET.replace(b"hello", b"much"))
            await asyncio.sleep(3)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            received = 0
            with contextlib.suppress(ConnectionError):
                while data := await client.reader.read(1_000_000):
                    received += len(data)
            assert received < 10_000_000


class TestOddClients:
    async def test_headers_without_end(self) -> None:
        async with running_app(hello()) as port, raw_client(port) as client:
            client.send(GET[:-2] + b"X-Much: y\r\n" * 4000)
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 431 ")
            await client.until_gone()

    async def test_no_http_at_all(self) -> None:
        async with running_app(hello()) as port, raw_client(port) as client:
            client.send(b"\x16\x03\x01\x02\x00hello\r\n\r\n")
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
            await client.until_gone()


class TestConnectionsOfOneAddress:
    async def test_are_bounded_and_free_again_when_closed(self) -> None:
        async with running_app(hello(), max_connections_per_address=3) as port:
            async with AsyncExitStack() as open_clients:
                for _ in range(3):
                    await open_clients.enter_async_context(raw_client(port))
                await asyncio.sleep(0)
                async with raw_client(port) as client:
                    client.send(GET)
                    await client.until_gone()
            async with asyncio.timeout(10):
                while True:
                    async with raw_client(port) as client:
                        client.send(GET)
                        try:
                            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                        except (asyncio.IncompleteReadError, ConnectionError):
                            continue
                        break

    async def test_a_websocket_counts_until_it_is_closed(self) -> None:
        async with running_app(hello(), max_connections_per_address=1) as port:
            for _ in range(3):
                async with asyncio.timeout(10):
                    while True:
                        async with raw_client(port) as client:
                            try:
                                answer = await client.shake_hands(REQUEST)
                            except (asyncio.IncompleteReadError, ConnectionError):
                                continue
                            assert answer.startswith(b"HTTP/1.1 403 ")
                            break

    def test_of_trusted_proxies_are_free_and_those_of_an_ipv6_site_count_together(self) -> None:
        connections = OpenConnections(1, [ip_network("10.0.0.0/8")])
        assert connections.admit("10.1.2.3")
        assert connections.admit("10.1.2.3")
        release = connections.admit("2001:db8::1")
        assert release is not None
        assert connections.admit("2001:db8::2") is None
        assert connections.admit("2001:db8:0:1::2")
        release()
        assert connections.admit("2001:db8::2")
