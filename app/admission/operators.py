"""Who may ask for tickets: the operator's own systems, by API key or by a signed token (JWT, RFC 7519)."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import jwt

SHARED_KEY_ALGORITHMS: Final[Sequence[str]] = ("HS256", "HS384", "HS512")
PUBLIC_KEY_ALGORITHMS: Final[Sequence[str]] = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
)
"""A public key must never be taken for a shared one: each list goes with its kind of key alone."""

CLOCK_SKEW_S: Final = 10
MAX_CREDENTIAL_CHARACTERS: Final = 8 * 1024


class NotAuthenticatedError(Exception):
    """The credential is missing or wrong. The text says why and quotes nothing; it is for the log alone."""


class KeysUnavailableError(Exception):
    """The keys that would tell are not known yet."""


class PublicKeys(Protocol):
    """The keys that the operator's sign-in service publishes."""

    def find(self, key_id: str | None) -> jwt.PyJWK:
        """The key of this id. Raises NotAuthenticatedError; KeysUnavailableError before the first fetch."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks. `subject` is whom their token names; None for who may ask for anybody."""

    subject: str | None


class Operators:
    """Tells operators from strangers."""

    def __init__(
        self,
        *,
        key_hashes: Sequence[str] = (),
        shared_key: str | None = None,
        public_keys: PublicKeys | None = None,
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        """`key_hashes`: SHA-256 of the API keys, hexadecimal. `audience`, `issuer`: what a JWT must name."""
        self._key_hashes = [bytes.fromhex(key_hash) for key_hash in key_hashes]
        self._shared_key = shared_key
        self._public_keys = public_keys
        self._audience = audience
        self._issuer = issuer

    def authenticate(self, credential: str | None) -> Operator:
        """Who shows this credential. Raises NotAuthenticatedError, KeysUnavailableError."""
        if not credential or not credential.isascii() or len(credential) > MAX_CREDENTIAL_CHARACTERS:
            raise NotAuthenticatedError("no credential")
        digest = hashlib.sha256(credential.encode()).digest()
        # Every hash is compared, so that time tells nothing about which one it is.
        if sum(hmac.compare_digest(digest, known) for known in self._key_hashes):
            return Operator(None)
        if self._shared_key is None and self._public_keys is None:
            raise NotAuthenticatedError("unknown API key")
        return Operator(self._subject_of(self._claims(credential)))

    def _claims(self, token: str) -> Mapping[str, object]:
        key: str | jwt.PyJWK
        algorithms: Sequence[str]
        try:
            if self._public_keys is not None:
                header = jwt.get_unverified_header(token)
                key, algorithms = self._public_keys.find(header.get("kid")), PUBLIC_KEY_ALGORITHMS
            else:
                key, algorithms = self._shared_key or "", SHARED_KEY_ALGORITHMS
            claims: Mapping[str, object] = jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=CLOCK_SKEW_S,
                options={"require": ["exp", "aud", "iss"]},
            )
        except jwt.PyJWTError as error:
            raise NotAuthenticatedError(type(error).__name__) from None
        return claims

    @staticmethod
    def _subject_of(claims: Mapping[str, object]) -> str | None:
        subject = claims.get("sub")
        return subject if isinstance(subject, str) and subject else None
