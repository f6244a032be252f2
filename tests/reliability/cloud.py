"""Voice Live and Entra over TLS, with an authority that the gateway trusts until a fault says otherwise."""

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from unittest.mock import patch

import aiohttp
import trustme
from aiohttp import web

PRINCIPAL = {"azure_tenant_id": "tenant", "azure_client_id": "client", "azure_client_secret": "secret-canary"}
LIFETIME_S = 1
"""So short that each call needs a token of its own."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def good_token(_: web.Request) -> web.StreamResponse:
    return web.json_response(
        {"token_type": "Bearer", "expires_in": LIFETIME_S, "access_token": "token-canary"}
    )


@dataclass
class Cloud:
    """What the gateway meets. `answer` is that of the token endpoint."""

    authority: trustme.CA
    voice_live_tls: ssl.SSLContext
    sign_in: str = ""
    answer: Answer = good_token

    def show(self, certificate: trustme.LeafCert) -> None:
        """From now on Voice Live shows this certificate."""
        certificate.configure_cert(self.voice_live_tls)


@asynccontextmanager
async def cloud() -> AsyncIterator[Cloud]:
    """One on a free port, trusted by this process meanwhile."""
    authority = trustme.CA()
    running = Cloud(authority, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    running.show(authority.issue_cert("127.0.0.1"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)

    async def mint(request: web.Request) -> web.StreamResponse:
        return await running.answer(request)

    application = web.Application()
    application.router.add_post("/{tenant}/oauth2/v2.0/token", mint)
    runner = web.AppRunner(application, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    running.sign_in = f"https://localhost:{runner.addresses[0][1]}"
    with authority.cert_pem.tempfile() as trusted:
        # aiohttp, under the library of Entra, has read the authorities when it was imported.
        context = ssl.create_default_context(cafile=trusted)
        with (
            patch.dict(os.environ, {"SSL_CERT_FILE": trusted}),
            patch.object(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", context),
        ):
            try:
                yield running
            finally:
                await runner.cleanup()
