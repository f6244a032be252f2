"""Every response of the gateway has the security headers, whatever the answer is; production shows less."""

import json
from http import HTTPStatus

import pytest
from starlette.datastructures import MutableHeaders

from app import main, page
from app.security_headers import HEADERS, add_headers
from app.websocket import http_protocol
from app.websocket.plain_answers import plain_answer
from tests.gateway import running_gateway
from tests.scripted_voice_live import ScriptedVoiceLive
from tests.test_main import upgrade
from tests.websocket.raw_client import REQUEST, raw_client

STRICT = ("X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options", "Cross-Origin-Opener-Policy")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/ready", 200),
        ("GET", "/", 200),
        ("GET", "/static/main.js", 200),
        ("GET", "/static/missing.js", 404),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/health", 405),
        ("GET", "/broken", 500),
        ("GET", "/ws/voice", 401),
    ],
)
async def test_every_response(method: str, path: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(page.router, "routes", list(page.router.routes))
    page.router.get("/broken")(broken)
    headers = upgrade() | {"Sec-WebSocket-Protocol": "resume.unknown"} if path == "/ws/voice" else {}
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        async with gateway.http.request(method, gateway.address + path, headers=headers) as response:
            assert response.status == status
            its_own = page.HEADERS if path == "/" or (status == 200 and path.startswith("/static/")) else {}
            for name in STRICT:
                assert response.headers.getall(name) == [its_own.get(name, HEADERS[name])]
            (policy,) = response.headers.getall("Content-Security-Policy")
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "Strict-Transport-Security" not in response.headers
            assert "Server" not in response.headers
            assert "canary" not in await response.text()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01 no HTTP\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 6000, 431),
        (b"GET / HTTP/1.1\r\nHost:", 408),
        (REQUEST.replace(b"Sec-WebSocket-Key", b"X"), 400),
        (REQUEST.replace(b"Version: 13", b"Version: 8"), 426),
        (REQUEST[:-2] + b"X: y\r\n" * 200 + b"\r\n", 400),
    ],
    ids=["no HTTP", "much", "slow", "no key", "an old version", "many headers"],
)
async def test_every_answer_below_the_application(
    sent: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_TIMEOUT_S", 1.0)
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        async with raw_client(int(gateway.address.rpartition(":")[2])) as client:
            head = (await client.shake_hands(sent)).decode().lower()
            body = json.loads(await client.reader.read())
    assert head.startswith(f"http/1.1 {status} ")
    for name in (*STRICT, "Content-Security-Policy"):
        assert head.count(f"\r\n{name}: {HEADERS[name]}\r\n".lower()) == 1
    assert "\r\nserver:" not in head
    assert body["error"]["code"] == "bad_request"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
async def test_production_does_not_describe_itself(path: str) -> None:
    app = main.create_app(ScriptedVoiceLive().settings().model_copy(update={"app_env": "production"}))
    assert path not in {getattr(route, "path", None) for route in app.routes}


def test_what_the_end_of_the_server_interrupts_is_told_to_come_back() -> None:
    answer = plain_answer(HTTPStatus.SERVICE_UNAVAILABLE, "wss")
    assert json.loads(answer.body)["error"]["code"] == "server_draining"
    for name in ("Retry-After", "Strict-Transport-Security", *HEADERS):
        assert len(answer.headers.get_all(name)) == 1


@pytest.mark.parametrize(("scheme", "told"), [("http", False), ("ws", False), ("https", True), ("wss", True)])
def test_strict_transport_is_told_over_tls_alone(scheme: str, told: bool) -> None:
    headers = MutableHeaders()
    add_headers(headers, {"path": "/health", "scheme": scheme})
    assert ("Strict-Transport-Security" in headers) is told
