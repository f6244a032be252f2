"""Who is an operator: API keys and signed tokens, good and forged."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from app.admission import signing_keys
from app.admission.operators import KeysUnavailableError, NotAuthenticatedError, Operator, Operators
from app.admission.signing_keys import FetchedKeys
from app.admission.tickets import bearer_of, is_ticket, new_ticket
from tests.admission.bank import SETTINGS, ask
from tests.gateway import running_gateway
from tests.polling import until
from tests.scripted_voice_live import ScriptedVoiceLive

SHARED_KEY = "a-shared-key-of-at-least-32-bytes-canary"
AUDIENCE, ISSUER = "voice", "https://login.bank.example"
BY_TOKEN = {"ticket_jwt_audience": AUDIENCE, "ticket_jwt_issuer": ISSUER}
RSA_KEY = rsa.generate_private_key(65_537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65_537, 2048)
EC_ALGORITHM = jwt.algorithms.ECAlgorithm
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def claims(**more: object) -> dict[str, Any]:
    all_claims = {"aud": AUDIENCE, "iss": ISSUER, "exp": int(time.time()) + 60, "sub": "alice"} | more
    return {name: value for name, value in all_claims.items() if value is not None}


def by_shared_key() -> Operators:
    return Operators(shared_key=SHARED_KEY, audience=AUDIENCE, issuer=ISSUER)


def signed(key: Any = SHARED_KEY, algorithm: str = "HS256", kid: str | None = None, **more: object) -> str:
    return jwt.encode(claims(**more), key, algorithm, headers={"kid": kid} if kid else None)


class TestApiKeys:
    def test_each_key_opens_and_no_other(self) -> None:
        operators = Operators(key_hashes=[hashlib.sha256(key).hexdigest() for key in (b"one", b"two")])
        assert operators.authenticate("one") == operators.authenticate("two") == Operator(None)
        for stranger in ("three", "", None, hashlib.sha256(b"one").hexdigest(), "x" * 100_000):
            with pytest.raises(NotAuthenticatedError):
                operators.authenticate(stranger)


class TestSharedKey:
    def test_a_token_names_its_subject(self) -> None:
        assert by_shared_key().authenticate(signed()) == Operator("alice")
        assert by_shared_key().authenticate(signed(sub=None)) == Operator(None)

    @pytest.mark.parametrize(
        "token",
        [
            signed(exp=int(time.time()) - 60),
            signed(exp=None),
            signed(nbf=int(time.time()) + 600),
            signed(aud="other"),
            signed(aud=None),
            signed(iss="https://evil.example"),
            signed(iss=None),
            signed(key="another-key-of-at-least-32-bytes-00000"),
            jwt.encode(claims(), "", "none"),
            signed(key=RSA_KEY, algorithm="RS256"),
            signed()[:-2],
            "a.b.c",
            "eyJhbGciOiJIUzI1NiJ9..",
            "\udcff",
        ],
    )
    def test_any_other_token_is_refused(self, token: str) -> None:
        with pytest.raises(NotAuthenticatedError) as refused:
            by_shared_key().authenticate(token)
        assert SHARED_KEY not in str(refused.value)

    @given(st.text(max_size=200))
    def test_whatever_is_shown_is_refused_or_right(self, text: str) -> None:
        with pytest.raises(NotAuthenticatedError):
            by_shared_key().authenticate(text)


def published(*keys: tuple[str, Any]) -> dict[str, Any]:
    """A key set, as a sign-in service publishes it."""
    found = []
    for kid, key in keys:
        kind: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else EC_ALGORITHM
        found.append(kind.to_jwk(key.public_key(), as_dict=True) | {"kid": kid})
    return {"keys": found}


@asynccontextmanager
async def sign_in_service(answer: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[str]:
    """The address of its keys."""

    async def serve(request: web.Request) -> web.StreamResponse:
        return answer(request)

    application = web.Application()
    application.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    finally:
        await runner.cleanup()


async def fetched(url: str, condition: Callable[[FetchedKeys], bool]) -> FetchedKeys:
    """The keys, once `condition` holds."""
    keys = FetchedKeys(url)
    async with asyncio.TaskGroup() as tasks:
        fetching = tasks.create_task(keys.keep_fresh())
        await until(lambda: condition(keys))
        fetching.cancel()
    return keys


def knows(kid: str) -> Callable[[FetchedKeys], bool]:
    def condition(keys: FetchedKeys) -> bool:
        try:
            keys.find(kid)
        except (KeysUnavailableError, NotAuthenticatedError):
            return False
        return True

    return condition


class TestPublicKeys:
    async def test_tokens_signed_with_a_published_key_are_good(self) -> None:
        key_set = published(("rsa", RSA_KEY), ("ec", EC_KEY))
        async with sign_in_service(lambda _: web.json_response(key_set)) as url:
            keys = await fetched(url, knows("rsa"))
        operators = Operators(public_keys=keys, audience=AUDIENCE, issuer=ISSUER)
        assert operators.authenticate(signed(RSA_KEY, "RS256", "rsa")) == Operator("alice")
        assert operators.authenticate(signed(EC_KEY, "ES256", "ec")) == Operator("alice")
        public_pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        forged = [
            signed(OTHER_RSA_KEY, "RS256", "rsa"),
            signed(RSA_KEY, "RS256", "unknown"),
            signed(RSA_KEY, "RS256", "ec"),
            signed(RSA_KEY, "RS256"),
            signed_with_public_key(public_pem),
        ]
        for token in forged:
            with pytest.raises(NotAuthenticatedError):
                operators.authenticate(token)

    async def test_a_new_key_is_fetched_when_a_token_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(signing_keys, "FETCH_AGAIN_S", 0.05)
        key_sets = [published(("old", RSA_KEY)), published(("new", EC_KEY))]
        async with sign_in_service(lambda _: web.json_response(key_sets.pop(0))) as url:
            keys = await fetched(url, knows("new"))
        with pytest.raises(NotAuthenticatedError):
            keys.find("old")

    @pytest.mark.parametrize(
        "answer",
        [
            lambda _: web.Response(status=500),
            lambda _: web.HTTPFound("/elsewhere"),
            lambda _: web.Response(text="<html>"),
            lambda _: web.json_response([]),
            lambda _: web.json_response({"keys": []}),
            lambda _: web.json_response({"keys": "no"}),
            lambda _: web.Response(body=b'{"keys":["' + b"x" * 300_000 + b'"]}'),
        ],
    )
    async def test_what_is_no_key_set_changes_nothing(
        self, answer: Callable[[web.Request], web.StreamResponse], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(signing_keys, "FETCH_AGAIN_S", 0.05)
        asked = 0

        def answer_in_turn(request: web.Request) -> web.StreamResponse:
            nonlocal asked
            asked += 1
            return answer(request) if asked == 1 else web.json_response(published(("rsa", RSA_KEY)))

        async with sign_in_service(answer_in_turn) as url:
            keys = FetchedKeys(url)
            with pytest.raises(KeysUnavailableError):
                keys.find("rsa")
            await fetched(url, knows("rsa"))


def signed_with_public_key(pem: bytes) -> str:
    """The old forgery: the public key, which everybody knows, taken for a shared one."""

    def encode(part: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")

    text = encode({"alg": "HS256", "kid": "rsa", "typ": "JWT"}) + b"." + encode(claims())
    signature = base64.urlsafe_b64encode(hmac.new(pem, text, "sha256").digest()).rstrip(b"=")
    return (text + b"." + signature).decode()


class TestAtTheGateway:
    async def test_a_token_gets_tickets_for_its_own_subject_alone(self) -> None:
        settings = ScriptedVoiceLive().settings(**SETTINGS, **BY_TOKEN, ticket_jwt_key=SHARED_KEY)
        async with running_gateway(settings) as gateway:
            assert (await ask(gateway, {"subject": "alice"}, signed()))[0] == 200
            status, answer = await ask(gateway, {"subject": "bob"}, signed())
            assert (status, answer["error"]["code"]) == (403, "forbidden")
            assert (await ask(gateway, {"subject": "bob"}, signed(sub=None)))[0] == 200
            assert (await ask(gateway, {"subject": "bob"}))[0] == 200  # by API key
            assert (await ask(gateway, {"subject": "alice"}, signed(aud="other")))[0] == 401

    async def test_before_the_keys_are_known_nobody_is_refused_for_good(self) -> None:
        url = "http://127.0.0.1:1/keys"
        settings = ScriptedVoiceLive().settings(**SETTINGS, **BY_TOKEN, ticket_jwks_url=url)
        async with running_gateway(settings) as gateway:
            token = signed(RSA_KEY, "RS256", "rsa")
            status, answer = await ask(gateway, {"subject": "alice"}, token)
            assert (status, answer["error"]["code"]) == (503, "auth_unavailable")


@given(st.text(max_size=60))
def test_any_authorization_is_a_bearer_s_or_none(text: str) -> None:
    bearer = bearer_of(text)
    assert bearer is None or text.strip().lower().startswith("bearer ")


@given(st.text(max_size=60))
def test_any_text_is_a_ticket_only_if_it_looks_like_one(text: str) -> None:
    assert is_ticket(text) == (
        len(text) == 43 and all(c.isascii() and (c.isalnum() or c in "-_") for c in text)
    )
    assert is_ticket(new_ticket())
