"""The public keys of the operator's sign-in service (JWKS, RFC 7517), fetched beside everything else.

Whoever shows a token is judged by the keys that are known; nobody waits for the sign-in service.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

import aiohttp
import jwt
import orjson
import structlog

from app.admission.operators import KeysUnavailableError, NotAuthenticatedError

FETCH_EVERY_S: Final = 600.0
FETCH_AGAIN_S: Final = 10.0
"""After a failure, or where a token names a key that is not known: at most this often."""

FETCH_TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 256 * 1024
KEPT_S: Final = 24 * 3600.0
"""Keys that could not be fetched anew for so long may have been withdrawn."""

log = structlog.get_logger(__name__)


class FetchedKeys:
    """The keys at one URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._wanted = asyncio.Event()

    def find(self, key_id: str | None) -> jwt.PyJWK:
        """The key of this id; a token without an id means the only key."""
        if self._fetched_at is None or time.monotonic() - self._fetched_at > KEPT_S:
            raise KeysUnavailableError
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        key = self._keys.get(key_id)
        if key is None:
            self._wanted.set()
            raise NotAuthenticatedError("unknown signing key")
        return key

    async def keep_fresh(self) -> None:
        """Fetch the keys now and again, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                try:
                    self._keys = {key.key_id: key for key in await self._fetch(http)}
                    self._fetched_at = time.monotonic()
                    pause_s = FETCH_EVERY_S
                except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
                    log.error("ticket.keys_not_fetched", reason=type(error).__name__)  # noqa: TRY400
                    pause_s = FETCH_AGAIN_S
                await asyncio.sleep(FETCH_AGAIN_S)
                self._wanted.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s - FETCH_AGAIN_S):
                        await self._wanted.wait()

    async def _fetch(self, http: aiohttp.ClientSession) -> list[jwt.PyJWK]:
        body = bytearray()
        async with http.get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError("no keys")
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("too long")
        keys = orjson.loads(body)
        if not isinstance(keys, dict):
            raise ValueError("no key set")  # noqa: TRY004 - as any other malformed answer
        return jwt.PyJWKSet.from_dict(keys).keys
