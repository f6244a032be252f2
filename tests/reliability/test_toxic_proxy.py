"""The proxy does to a stream what it is told, no more and no less."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.reliability.toxic_proxy import ToxicProxy, toxic_proxy

DATA = bytes(range(256)) * 40
MANY_S = 20


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that answers with what it gets."""
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        try:
            with suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                writer.write_eof()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)


@asynccontextmanager
async def through() -> AsyncIterator[tuple[ToxicProxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the echo through the proxy."""
    async with echo() as port, toxic_proxy(port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            async with asyncio.timeout(MANY_S):
                yield proxy, reader, writer
        finally:
            writer.close()


async def answered_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> float:
    began = time.monotonic()
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    return time.monotonic() - began


async def test_without_toxics_bytes_and_the_end_pass() -> None:
    async with through() as (proxy, reader, writer):
        await answered_after(reader, writer, DATA)
        assert proxy.live == 1
        writer.write_eof()
        assert await reader.read() == b""


async def test_latency() -> None:
    async with through() as (proxy, reader, writer):
        proxy.to_server.latency_s = 0.2
        proxy.to_client.jitter_s = 0.001
        assert await answered_after(reader, writer, b"x") >= 0.2


async def test_bandwidth() -> None:
    async with through() as (proxy, reader, writer):
        proxy.to_client.bandwidth_bytes_s = len(DATA) / 0.3
        assert await answered_after(reader, writer, DATA) >= 0.3


async def test_slices_change_nothing_but_the_pieces() -> None:
    async with through() as (proxy, reader, writer):
        proxy.to_server.slice_bytes = proxy.to_client.slice_bytes = 7
        await answered_after(reader, writer, DATA)


async def test_a_stall_keeps_what_it_delays() -> None:
    async with through() as (proxy, reader, writer):
        proxy.stall()
        writer.write(DATA)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)
        proxy.resume()
        assert await reader.readexactly(len(DATA)) == DATA


async def test_vanishing_tells_nobody() -> None:
    async with through() as (proxy, reader, writer):
        proxy.vanish()
        writer.write(DATA)
        writer.write_eof()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)


async def test_reset() -> None:
    async with through() as (proxy, reader, writer):
        await answered_after(reader, writer, b"x")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_refusal_of_new_connections() -> None:
    async with through() as (proxy, reader, writer):
        await answered_after(reader, writer, b"x")
        proxy.refuses = True
        other, other_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await other.read()
        other_writer.close()
        await answered_after(reader, writer, b"x")


async def test_limit_of_data() -> None:
    async with through() as (proxy, reader, writer):
        proxy.to_client.limit_bytes = 100
        writer.write(DATA)
        assert await reader.read() == DATA[:100]


async def test_half_close_leaves_the_other_direction() -> None:
    async with through() as (proxy, reader, writer):
        await answered_after(reader, writer, b"x")
        proxy.half_close_to_client()
        assert await reader.read() == b""
        assert proxy.live == 1


async def test_slow_close() -> None:
    async with through() as (proxy, reader, writer):
        await answered_after(reader, writer, b"x")
        proxy.to_client.slow_close_s = 0.2
        began = time.monotonic()
        writer.write_eof()
        await reader.read()
        assert time.monotonic() - began >= 0.2
