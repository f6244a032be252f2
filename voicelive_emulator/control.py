"""What tests and people ask of the emulator itself, over HTTP: who calls, end all calls, set answers.

With `--api-key` these routes want the key, too.
"""

import asyncio
import contextlib
import hmac
import time
from collections.abc import Collection
from typing import Final, Protocol

import orjson
from aiohttp import web

from voicelive_emulator.activity import Activity
from voicelive_emulator.set_answers import AnswerError, SetAnswers

_END_TIMEOUT_S: Final = 5.0


class OpenSession(Protocol):
    """A session that goes on."""

    @property
    def activity(self) -> Activity: ...
    @property
    def ended(self) -> asyncio.Event: ...
    def close(self, code: int, reason: str) -> None: ...


class Control:
    """The routes `/sessions` and `/answers`."""

    def __init__(
        self, sessions: Collection[OpenSession], answers: SetAnswers | None, api_key: str | None
    ) -> None:
        """`sessions` is looked at anew for each request; `answers` is None where none can be set."""
        self._sessions = sessions
        self._answers = answers
        self._api_key = api_key

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes to an application."""
        router.add_get("/sessions", self._list)
        router.add_delete("/sessions", self._end)
        router.add_put("/answers", self._set_answers)

    async def _list(self, request: web.Request) -> web.Response:
        self._check(request)
        now = time.monotonic()
        return web.json_response({"sessions": [session.activity.shown(now) for session in self._sessions]})

    async def _end(self, request: web.Request) -> web.Response:
        """End all sessions; the answer comes when they have ended."""
        self._check(request)
        ending = list(self._sessions)
        for session in ending:
            session.close(1001, "Ended on request.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_TIMEOUT_S):
                for session in ending:
                    await session.ended.wait()
        return web.json_response({"ended": len(ending)})

    async def _set_answers(self, request: web.Request) -> web.Response:
        self._check(request)
        if self._answers is None:
            return _refusal(409, "no_test_agent", "Answers can be set with --agent test only.")
        try:
            self._answers.replace(orjson.loads(await request.read()))
        except (AnswerError, orjson.JSONDecodeError) as error:
            message = str(error) if isinstance(error, AnswerError) else "The body is not valid JSON."
            return _refusal(400, "invalid_answers", message)
        return web.json_response({"waiting": len(self._answers)})

    def _check(self, request: web.Request) -> None:
        given = request.headers.get("api-key", "")
        if self._api_key is not None and not hmac.compare_digest(given.encode(), self._api_key.encode()):
            body = orjson.dumps(
                {"error": {"code": "unauthorized", "message": "The key is missing or wrong."}}
            )
            raise web.HTTPUnauthorized(text=body.decode(), content_type="application/json")


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
