"""What must be set, what may not be set together, what is unsafe. Pure: settings in, problems out."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.upstream_addresses import SIGN_IN_HOSTS, VOICE_LIVE_DOMAINS, fault_of
from app.websocket.tls import server_context

if TYPE_CHECKING:
    from app.config import Settings

MAX_INSTRUCTIONS_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the settings."""

    variable: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.what} {self.remedy}"


class SettingsError(Exception):
    """The settings cannot be used. `problems` holds every one of them."""

    def __init__(self, problems: Iterable[Problem], note: str | None = None) -> None:
        self.problems = list(problems)
        self.note = note
        lines = ["The settings cannot be used:", *(f"  {problem}" for problem in self.problems)]
        super().__init__("\n".join([*lines, note] if note else lines))


def find_problems(settings: "Settings") -> Iterator[Problem]:
    """Everything that is missing, contradictory or unsafe in settings whose values are well formed."""
    yield from _missing(settings)
    yield from _contradictions(settings)
    yield from _bad_addresses(settings)
    yield from _bad_instructions(settings.azure_voicelive_instructions_file)
    yield from _bad_certificate(settings.app_tls_cert_file, settings.app_tls_key_file)


def _missing(settings: "Settings") -> Iterator[Problem]:
    required = ["azure_voicelive_endpoint", "azure_voicelive_voice_name"]
    if settings.azure_voicelive_voice_type == "azure-custom":
        required.append("azure_voicelive_voice_endpoint_id")
    service_principal = ["azure_tenant_id", "azure_client_id", "azure_client_secret"]
    if settings.azure_voicelive_model and not settings.azure_voicelive_agent_id:
        if any(getattr(settings, name) for name in service_principal):
            required += service_principal
        else:
            required.append("azure_voicelive_api_key")
    elif settings.azure_voicelive_agent_name and not settings.azure_voicelive_agent_id:
        required += ["azure_voicelive_project_name", *service_principal]
    else:
        required += ["azure_voicelive_agent_id", "azure_voicelive_project_name", "azure_voicelive_api_key"]
        required += service_principal
    for name in required:
        if not getattr(settings, name):
            yield Problem(
                name.upper(), "is missing.", f"Set it to {type(settings).model_fields[name].description}."
            )


def _contradictions(settings: "Settings") -> Iterator[Problem]:
    modes = ["azure_voicelive_agent_id", "azure_voicelive_agent_name", "azure_voicelive_model"]
    chosen = [name.upper() for name in modes if getattr(settings, name)]
    for name in chosen[1:]:
        yield Problem(name, f"contradicts {chosen[0]}: each says who answers.", "Keep only one of the two.")
    if settings.azure_voicelive_agent_version and not settings.azure_voicelive_agent_name:
        yield Problem(
            "AZURE_VOICELIVE_AGENT_VERSION",
            "has no meaning without AZURE_VOICELIVE_AGENT_NAME.",
            "Set the name, or leave the version out.",
        )
    if settings.workers > 1 and settings.resume_window_s:
        yield Problem(
            "WORKERS",
            "is more than 1 with RESUME_WINDOW_S set: another process would not know the lost call.",
            "Set WORKERS to 1, or RESUME_WINDOW_S to 0.",
        )
    if settings.azure_voicelive_instructions_file and not settings.azure_voicelive_model:
        yield Problem(
            "AZURE_VOICELIVE_INSTRUCTIONS_FILE",
            "has no meaning with an agent, which has instructions of its own.",
            "Leave it out, or set AZURE_VOICELIVE_MODEL instead of the agent.",
        )
    if (
        settings.azure_voicelive_voice_type == "azure-realtime-native"
        and settings.azure_voicelive_model != "azure-realtime"
    ):
        yield Problem(
            "AZURE_VOICELIVE_VOICE_TYPE",
            "azure-realtime-native voices speak with the model azure-realtime only.",
            "Choose another voice type, or set AZURE_VOICELIVE_MODEL to azure-realtime.",
        )


def _bad_addresses(settings: "Settings") -> Iterator[Problem]:
    allowed = settings.upstream_allowed_hosts
    checks = [
        (
            "AZURE_VOICELIVE_ENDPOINT",
            fault_of(
                settings.azure_voicelive_endpoint or "https://localhost",
                domains=VOICE_LIVE_DOMAINS,
                allowed_hosts=allowed,
            ),
            "https://your-resource.services.ai.azure.com",
        ),
        (
            "AZURE_AUTHORITY_HOST",
            fault_of(settings.azure_authority_host, hosts=SIGN_IN_HOSTS, allowed_hosts=allowed),
            "https://login.microsoftonline.com",
        ),
    ]
    for variable, fault, example in checks:
        if fault is not None:
            yield Problem(variable, fault, f"Set it to an address such as {example}.")


def _bad_instructions(file: Path | None) -> Iterator[Problem]:
    if file is None:
        return
    variable, remedy = "AZURE_VOICELIVE_INSTRUCTIONS_FILE", "Name a UTF-8 text file of at most 64 KiB."
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        yield Problem(variable, "cannot be read as UTF-8 text.", remedy)
        return
    if len(text.encode()) > MAX_INSTRUCTIONS_BYTES or not text.strip():
        yield Problem(variable, "is empty or too long.", remedy)


def _bad_certificate(certificate: Path | None, key: Path | None) -> Iterator[Problem]:
    if certificate is None and key is None:
        return
    for variable, file in (("APP_TLS_CERT_FILE", certificate), ("APP_TLS_KEY_FILE", key)):
        if file is None:
            yield Problem(variable, "is missing: a certificate needs its key.", "Set both, or neither.")
        elif not (file.is_file() and os.access(file, os.R_OK)):
            yield Problem(variable, "cannot be read.", "Name a PEM file that the gateway may read.")
            return
    if certificate is None or key is None:
        return
    try:
        server_context(certificate, key)
    except OSError:
        yield Problem(
            "APP_TLS_KEY_FILE",
            "is not the key of APP_TLS_CERT_FILE, or one of them is not PEM, or needs a password.",
            "Name the certificate chain and its own private key, without a password.",
        )
