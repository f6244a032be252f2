"""Settings: every variable of the gateway, its unit, its default and its check.

Values come from the environment and from `.env`. All problems are found at once and told together, each with
the variable's name, what is wrong and what to do; no message repeats a value, since it may be a secret.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.config_admission import admission_warnings, find_admission_problems
from app.config_checks import Problem, SettingsError, find_problems
from app.config_lists import Hosts, KeyHashes, Networks, Origins

__all__ = ["Problem", "Settings", "SettingsError", "load_settings", "settings_from"]

VoiceType = Literal["azure-custom", "azure-standard", "openai", "azure-realtime-native"]
VadType = Literal["server_vad", "azure_semantic_vad", "azure_semantic_vad_multilingual"]
InterruptionPolicyName = Literal["service", "gateway"]
ClientAuth = Literal["open", "ticket"]
AppEnvironment = Literal["development", "production"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

UNTOLD: Final = ("greeting_text", "reprompt_text", "goodbye_text", "ticket_api_key_hashes")
"""Of these the log says only whether they are set."""

CLASSIC_API_VERSION: Final = "2025-10-01"
CURRENT_API_VERSION: Final = "2026-07-15"


def _speech_rate(value: float) -> float:
    if value != 0 and not 1.05 <= value <= 100:
        raise ValueError("slower than real time nobody could speak")
    return value


SpeechRate = Annotated[float, AfterValidator(_speech_rate)]


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """The Entra application that mints our tokens."""

    tenant_id: str
    client_id: str
    client_secret: SecretStr
    authority_host: str


@dataclass(frozen=True, slots=True)
class ClassicAgent:
    """A Foundry agent by its id: an API key on the socket and a minted token in the query."""

    agent_id: str
    project_name: str


@dataclass(frozen=True, slots=True)
class FoundryAgent:
    """A Foundry agent by its name: the service principal's token on the socket."""

    agent_name: str
    project_name: str
    agent_version: str | None


@dataclass(frozen=True, slots=True)
class Model:
    """A model without an agent, with our own instructions."""

    name: str
    instructions: str | None


AgentMode = ClassicAgent | FoundryAgent | Model


class Settings(BaseSettings):
    """The gateway's settings. Make them with `load_settings`, which checks them as a whole."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, hide_input_in_errors=True, frozen=True, case_sensitive=False
    )

    # Voice Live
    azure_voicelive_endpoint: str | None = Field(None, description="the https address of your resource")
    azure_voicelive_api_key: SecretStr | None = Field(None, description="KEY1 or KEY2 of the resource")
    azure_voicelive_api_version: str | None = Field(
        None,
        pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$",
        description="a date such as 2026-07-15, or leave it out",
    )
    azure_voicelive_project_name: str | None = Field(None, description="the name of the Foundry project")
    azure_voicelive_agent_id: str | None = Field(None, description="the id of a classic agent")
    azure_voicelive_agent_name: str | None = Field(None, description="the name of a Foundry agent")
    azure_voicelive_agent_version: str | None = Field(None, description="a version of the Foundry agent")
    azure_voicelive_model: str | None = Field(None, description="the name of a model")
    azure_voicelive_instructions_file: Path | None = Field(None, description="the path of a text file")

    # Service principal
    azure_tenant_id: str | None = Field(None, description="the tenant's id")
    azure_client_id: str | None = Field(None, description="the application's id")
    azure_client_secret: SecretStr | None = Field(None, description="a secret of the application")
    azure_authority_host: str = Field(
        "https://login.microsoftonline.com", description="the https address of the sign-in service"
    )
    upstream_allowed_hosts: Hosts = Field(
        (), description="host names such as voice.internal.example, without a port"
    )

    # Voice
    azure_voicelive_voice_type: VoiceType = Field(
        "azure-custom", description="azure-custom, azure-standard, openai or azure-realtime-native"
    )
    azure_voicelive_voice_name: str | None = Field(None, description="the name of the voice")
    azure_voicelive_voice_endpoint_id: str | None = Field(
        None, description="the id of the custom voice's deployment"
    )

    # Listening
    vad_type: VadType = Field(
        "server_vad", description="server_vad, azure_semantic_vad or azure_semantic_vad_multilingual"
    )
    vad_threshold: float = Field(0.5, ge=0, le=1, description="a number from 0 to 1")
    vad_prefix_padding_ms: int = Field(300, ge=0, le=5000, description="milliseconds from 0 to 5000")
    vad_silence_duration_ms: int = Field(500, ge=100, le=5000, description="milliseconds from 100 to 5000")
    input_language: str | None = Field(
        None,
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*(,[A-Za-z0-9-]+)*$",
        description="a locale such as en-US",
    )
    input_transcription_model: str | None = Field(None, description="the name of a transcription model")

    # Interruptions
    interruption_policy: InterruptionPolicyName = Field("service", description="service or gateway")
    interruption_min_speech_ms: int = Field(
        1000, ge=100, le=10_000, description="milliseconds from 100 to 10000"
    )
    vad_auto_truncate: bool = Field(False, description="true or false")

    # Greeting
    enable_proactive_greeting: bool = Field(True, description="true or false")
    greeting_text: str | None = Field(None, max_length=2000, description="a text of at most 2000 characters")

    # Silence
    reprompt_after_s: int = Field(0, ge=0, le=3600, description="seconds from 0 to 3600")
    reprompt_text: str = Field(
        "Are you still there?", max_length=2000, description="a text of at most 2000 characters"
    )
    goodbye_text: str | None = Field(None, max_length=2000, description="a text of at most 2000 characters")

    # Server
    app_env: AppEnvironment = Field("development", description="development or production")
    app_host: str = Field("0.0.0.0", description="an address to listen on")
    app_port: int = Field(8000, ge=0, le=65535, description="a port from 0 to 65535")
    app_tls_cert_file: Path | None = Field(None, description="the path of a certificate chain in PEM")
    app_tls_key_file: Path | None = Field(None, description="the path of its private key in PEM")
    workers: int = Field(1, ge=1, le=256, description="a number of processes from 1 to 256")
    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL")

    # Who may call
    client_auth: ClientAuth = Field("open", description="open or ticket")
    allowed_origins: Origins = Field((), description="origins such as https://shop.example.com")
    trusted_hosts: Hosts = Field((), description="host names such as voice.example.com, without a port")
    trusted_proxies: Networks = Field((), description="addresses or ranges such as 10.0.0.0/8")
    ticket_ttl_s: int = Field(30, ge=1, le=30, description="seconds from 1 to 30")
    ticket_api_key_hashes: KeyHashes = Field((), description="the SHA-256 of each API key, in hexadecimal")
    ticket_jwt_key: SecretStr | None = Field(None, description="the key that your tokens are signed with")
    ticket_jwks_url: str | None = Field(None, description="the https address of your public keys")
    ticket_jwt_audience: str | None = Field(None, description="the audience that your tokens name")
    ticket_jwt_issuer: str | None = Field(None, description="the issuer that your tokens name")
    max_calls_per_subject: int = Field(5, ge=0, le=100_000, description="a number of calls, 0 for no limit")
    max_calls_per_address: int = Field(0, ge=0, le=100_000, description="a number of calls, 0 for no limit")
    max_connections_per_address: int = Field(
        1000, ge=0, le=100_000, description="a number of connections, 0 for no limit"
    )
    daily_minutes_per_subject: int = Field(0, ge=0, le=1440, description="minutes up to 1440, 0 for no limit")
    admission_store_file: Path | None = Field(None, description="the path of a file that may be written")

    # Limits
    max_calls: int = Field(100, ge=1, le=100_000, description="a number of calls from 1 to 100000")
    connect_timeout_s: float = Field(10, gt=0, le=120, description="seconds up to 120")
    response_timeout_s: float = Field(15, gt=0, le=300, description="seconds up to 300")
    max_call_duration_s: int = Field(1740, ge=10, le=3600, description="seconds from 10 to 3600")
    idle_timeout_s: int = Field(120, ge=5, le=3600, description="seconds from 5 to 3600")
    resume_window_s: float = Field(0, ge=0, le=300, description="seconds from 0 to 300")
    caller_audio_max_rate: SpeechRate = Field(
        1.25, description="times real time from 1.05 to 100, or 0 for no limit"
    )
    max_messages_per_minute: int = Field(120, ge=10, le=10_000, description="a number from 10 to 10000")
    drain_timeout_s: int = Field(1800, ge=0, le=86_400, description="seconds from 0 to 86400")
    playout_lead_ms: int = Field(1000, ge=0, le=60_000, description="milliseconds from 0 to 60000")

    @property
    def endpoint(self) -> str:
        """The Voice Live endpoint: http(s), without a trailing slash."""
        return _given(self.azure_voicelive_endpoint).rstrip("/")

    @property
    def voice_name(self) -> str:
        """The voice that the agent speaks with."""
        return _given(self.azure_voicelive_voice_name)

    @property
    def agent_mode(self) -> AgentMode:
        """Who answers, as it follows from which variables are set."""
        if self.azure_voicelive_agent_id:
            return ClassicAgent(self.azure_voicelive_agent_id, _given(self.azure_voicelive_project_name))
        if self.azure_voicelive_agent_name:
            return FoundryAgent(
                self.azure_voicelive_agent_name,
                _given(self.azure_voicelive_project_name),
                self.azure_voicelive_agent_version,
            )
        file = self.azure_voicelive_instructions_file
        instructions = file.read_text(encoding="utf-8").strip() if file else None
        return Model(_given(self.azure_voicelive_model), instructions)

    @property
    def api_version(self) -> str:
        """The `api-version` of the service: as set, else the newest one that the agent mode works with."""
        default = CLASSIC_API_VERSION if self.azure_voicelive_agent_id else CURRENT_API_VERSION
        return self.azure_voicelive_api_version or default

    @property
    def service_principal(self) -> ServicePrincipal | None:
        """The Entra application, or None where none is set."""
        if not (self.azure_tenant_id and self.azure_client_id and self.azure_client_secret):
            return None
        return ServicePrincipal(
            self.azure_tenant_id, self.azure_client_id, self.azure_client_secret, self.azure_authority_host
        )

    @property
    def is_native_realtime(self) -> bool:
        """Whether the model hears and speaks by itself, without Azure's recognition and voices around it."""
        return (self.azure_voicelive_model or "").startswith("gpt-realtime")

    @property
    def transcription_model(self) -> str:
        """What transcribes the caller."""
        return self.input_transcription_model or ("whisper-1" if self.is_native_realtime else "azure-speech")

    def describe(self) -> dict[str, object]:
        """The effective configuration for the log: no secret."""
        described: dict[str, object] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr) or name in UNTOLD:
                value = "(set)" if value else None
            if isinstance(value, tuple):
                value = [str(item) for item in value]
            described[name] = str(value) if isinstance(value, Path) else value
        mode = {ClassicAgent: "classic", FoundryAgent: "agent", Model: "model"}[type(self.agent_mode)]
        return described | {
            "agent_mode": mode,
            "azure_voicelive_api_version": self.api_version,
            "input_transcription_model": self.transcription_model,
        }

    def warnings(self) -> list[str]:
        """Settings that are harmless but have no effect, as sentences."""
        found = []
        if self.azure_voicelive_agent_name and self.azure_voicelive_api_key:
            found.append("AZURE_VOICELIVE_API_KEY is unused: a Foundry agent by name takes tokens only.")
        if self.azure_voicelive_voice_endpoint_id and self.azure_voicelive_voice_type != "azure-custom":
            found.append("AZURE_VOICELIVE_VOICE_ENDPOINT_ID is unused: only azure-custom voices have one.")
        if self.azure_voicelive_model and self.azure_voicelive_project_name:
            found.append("AZURE_VOICELIVE_PROJECT_NAME is unused: a model has no project.")
        if self.greeting_text and not self.enable_proactive_greeting:
            found.append("GREETING_TEXT is unused: ENABLE_PROACTIVE_GREETING is false.")
        found += admission_warnings(self)
        return found


class _IsolatedSettings(Settings):
    """Settings that come from arguments only."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def load_settings(env_file: str | Path | None = ".env") -> Settings:
    """Settings from the environment, and below it from `env_file` where that exists.

    Raises SettingsError with every problem.
    """
    if env_file is not None and not _is_readable_text(Path(env_file)):
        raise SettingsError([Problem(str(env_file), "is not readable UTF-8 text.", "Save it as plain text.")])
    return _checked(lambda **values: Settings(_env_file=env_file, _env_file_encoding="utf-8", **values), {})


def settings_from(values: Mapping[str, object]) -> Settings:
    """Settings from these values (by field name) and the defaults; the environment and `.env` are ignored.

    Raises SettingsError with every problem.
    """
    return _checked(lambda **given: _IsolatedSettings(**given), values)


def _is_readable_text(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    except (OSError, UnicodeDecodeError):
        return False
    return True


def _checked(build: Callable[..., Settings], values: Mapping[str, Any]) -> Settings:
    try:
        settings = build(**values)
        malformed: dict[str, Problem] = {}
    except ValidationError as error:
        malformed = {str(found["loc"][0]): _malformed(found) for found in error.errors(include_input=False)}
        # The defaults stand in for what is malformed, so that the other problems can be told at once.
        defaults = {name: Settings.model_fields[name].default for name in malformed}
        settings = build(**{**values, **defaults})
    found = (*find_problems(settings), *find_admission_problems(settings))
    others = [problem for problem in found if problem.variable.lower() not in malformed]
    problems = [*malformed.values(), *others]
    if problems:
        raise SettingsError(problems, _mode_note(settings))
    return settings


def _malformed(found: ErrorDetails) -> Problem:
    name = str(found["loc"][0])
    message = found["msg"][:1].lower() + found["msg"][1:]
    if found["type"] == "string_pattern_mismatch":
        message = "the text has the wrong form"
    elif found["type"] == "value_error":
        message = str(found["ctx"]["error"])
    return Problem(
        name.upper(), f"is not usable: {message}.", f"Set it to {Settings.model_fields[name].description}."
    )


def _mode_note(settings: Settings) -> str | None:
    if (
        settings.azure_voicelive_agent_id
        or settings.azure_voicelive_agent_name
        or settings.azure_voicelive_model
    ):
        return None
    return (
        "This list is for an agent by id (AZURE_VOICELIVE_AGENT_ID); set AZURE_VOICELIVE_AGENT_NAME instead "
        "for a Foundry agent by name, or AZURE_VOICELIVE_MODEL for a model without an agent."
    )


def _given(value: str | None) -> str:
    """A value that `find_problems` has found to be set."""
    if value is None:
        raise AttributeError("not set: these settings were not checked")
    return value
