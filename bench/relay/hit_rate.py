"""How many of the mock's audio deltas the codec decodes without the full parser.

The mock sends the key order and the id lengths of today's service. Nothing is counted in the gateway: its
codec is run here over what the mock sends.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp
import orjson

from app.voicelive.codec import encode_append, fast_audio_delta
from app.voicelive.events import AudioDelta, parse_server_event
from bench.relay.processes import BUILD, LOAD_CORE, BenchError, free_port, running, wait_for_port

FRAMES: Final = 5_000
FRAMES_A_DELTA: Final = 10
TIMEOUT_S: Final = 30.0


def hit_rate() -> Mapping[str, float]:
    """The share of the deltas, and how many there were. Raises BenchError where both ways differ."""
    port = free_port()
    with running(LOAD_CORE, [f"{BUILD}/mock_upstream", "--port", str(port)]) as mock:
        wait_for_port(port, mock, TIMEOUT_S)
        return asyncio.run(_hit_rate(port))


async def _hit_rate(port: int) -> Mapping[str, float]:
    url = f"ws://127.0.0.1:{port}/voice-live/realtime"
    deltas = hits = 0
    async with (
        asyncio.timeout(TIMEOUT_S),
        aiohttp.ClientSession(headers={"api-key": "bench"}) as http,
        http.ws_connect(url, decode_text=False, max_msg_size=0) as socket,
    ):
        for number in range(FRAMES):
            await socket.send_str(encode_append(number.to_bytes(4, "big") * 240).decode())
            if number % FRAMES_A_DELTA == FRAMES_A_DELTA - 1:
                deltas += 1
                hits += _is_hit(await _next_audio_delta(socket))
    return {"hits_percent": 100 * hits / deltas, "deltas": deltas}


async def _next_audio_delta(socket: "aiohttp.ClientWebSocketResponse[bool]") -> bytes:
    while True:
        data: bytes = (await socket.receive()).data
        if orjson.loads(data)["type"] == "response.audio.delta":
            return data


def _is_hit(data: bytes) -> bool:
    event = parse_server_event(data)
    fast = fast_audio_delta(data)
    if not isinstance(event, AudioDelta) or fast not in (event, None):
        raise BenchError("the codec and the full parser differ")
    return fast is not None
