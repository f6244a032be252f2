"""The configuration of one session: defaults, what `session.update` changes, and its full echo.

Pure. Voice Live answers every update with the whole session, unset fields as explicit nulls, in a
fixed key order; the recordings of September 2026 are the source of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from pydantic import Field

from voicelive_emulator.events import ClientError, Event, check_size
from voicelive_emulator.mcp_fields import McpServer, SessionTool
from voicelive_emulator.profiles import Profile
from voicelive_emulator.session_fields import (
    Animation,
    EchoCancellation,
    FunctionTool,
    InterimResponse,
    MaxTokens,
    Metadata,
    Modality,
    NoiseReduction,
    OpenAISemanticVad,
    OpenAIVoice,
    OutputFormat,
    ReasoningEffort,
    ServerVad,
    StandardVoice,
    Temperature,
    ToolChoice,
    Transcription,
    TurnDetection,
    Voice,
)
from voicelive_emulator.settings import AgentUpdates
from voicelive_emulator.turn_detection import TurnOptions
from voicelive_emulator.validation import Strict, validate

DEFAULT_API_VERSION: Final = "2026-07-15"
_WIDER_PADDING_SINCE: Final = "2026-04-10"
_DEFAULT_INSTRUCTIONS: Final = (
    "You are a friendly assistant who talks with people by voice. Answer briefly and in plain words."
)
_AGENT_OWNED: Final = ("instructions", "tools", "tool_choice", "temperature", "reasoning_effort")
_UNSUPPORTED: Final = ("avatar",)
_EAGERNESS_TIMEOUT_MS: Final = {"low": 8_000, "medium": 4_000, "auto": 4_000, "high": 2_000}
_END_OF_UTTERANCE_TIMEOUT_MS: Final = 1_000
_DEFAULT_SILENCE_MS: Final = 500
_NATIVE_SILENCE_MS: Final = 200
_NATIVE_PADDING_MS: Final = 300

_PHASED_MODEL: Final = "gpt-realtime-2"

N = TypeVar("N", int, float)


class _Patch(Strict):
    """The body of `session.update`: only the fields that are present count; null clears."""

    modalities: list[Modality] | None = None
    instructions: str | None = None
    voice: Voice | None = None
    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"] | None = None
    output_audio_format: OutputFormat | None = None
    input_audio_sampling_rate: Literal[8_000, 16_000, 24_000] | None = None
    input_audio_transcription: Transcription | None = None
    input_audio_noise_reduction: NoiseReduction | None = None
    input_audio_echo_cancellation: EchoCancellation | None = None
    turn_detection: TurnDetection | None = None
    tools: list[SessionTool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    temperature: Temperature | None = None
    max_response_output_tokens: MaxTokens | None = None
    output_audio_timestamp_types: list[Literal["word"]] | None = None
    animation: Animation | None = None
    reasoning_effort: ReasoningEffort | None = None
    interim_response: InterimResponse | None = None
    include: list[str] | None = None
    metadata: Metadata | None = None
    truncation_strategy: dict[str, Any] | None = Field(default=None)


@dataclass(frozen=True, slots=True)
class HearingOptions:
    """What the shell needs to listen: the format that comes in, and how turns are found (None: by hand)."""

    audio_format: str
    sampling_rate_hz: int
    channels: int
    turns: TurnOptions | None
    end_of_utterance_threshold: float


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """The agent that a session talks with, as the query named it."""

    agent_id: str
    name: str
    project: str
    thread_id: str = ""
    """The conversation: the one that the query asks for, then the one that the session has."""


class SessionConfig:
    """The session object. Changed only by `update`, which changes all or nothing."""

    def __init__(
        self,
        session_id: str,
        profile: Profile,
        *,
        model: str | None,
        api_version: str | None,
        expires_at: int,
        agent: AgentIdentity | None = None,
        agent_updates: AgentUpdates = "warning",
    ) -> None:
        """Take what the upgrade request said; `expires_at` is in Unix seconds."""
        self.session_id = session_id
        self.profile = profile
        self.agent = agent
        self._agent_updates = agent_updates
        self._model = _shown_model(model, profile)
        self._expires_at = expires_at
        self.phase = "final_answer" if model == _PHASED_MODEL else None
        self._wide_padding = (api_version or DEFAULT_API_VERSION) >= _WIDER_PADDING_SINCE
        native = not profile.transcript_first
        reasoning = model is not None and model.startswith("gpt-5")
        self._fields: dict[str, Any] = {
            "modalities": ["audio"] if native else ["audio", "text"],
            "instructions": _DEFAULT_INSTRUCTIONS,
            "voice": OpenAIVoice(type="openai", name="marin" if model == _PHASED_MODEL else "alloy")
            if native
            else StandardVoice(type="azure-standard", name="en-US-AvaNeural"),
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": None if native else Transcription(model="azure-speech"),
            "input_audio_noise_reduction": None,
            "turn_detection": self._default_turn_detection(native, model),
            "tools": [],
            "tool_choice": "auto",
            "max_response_output_tokens": "inf",
            "input_audio_sampling_rate": 24_000,
            "input_audio_echo_cancellation": None,
            "output_audio_timestamp_types": None,
            "animation": None,
            "truncation_strategy": None,
            "include": None,
        }
        if profile.has_temperature:
            self._fields["temperature"] = 1.0 if reasoning else 0.8
        if reasoning:
            self._fields["reasoning_effort"] = "minimal"

    @property
    def turn_detection(self) -> TurnDetection | None:
        """How turns are found; None: the client commits by hand."""
        detection: TurnDetection | None = self._fields["turn_detection"]
        return detection

    @property
    def voice(self) -> Any:
        """The voice, an object with `type` and `echo()`."""
        return self._fields["voice"]

    @property
    def instructions(self) -> str | None:
        """What the client asked of the model; None while it has not."""
        text: str = self._fields["instructions"]
        return None if text == _DEFAULT_INSTRUCTIONS else text

    @property
    def transcribes(self) -> bool:
        """Whether the caller's words are to be shown."""
        return self._fields["input_audio_transcription"] is not None

    @property
    def tools(self) -> list[FunctionTool]:
        """The functions that the client offers."""
        return [tool for tool in self._fields["tools"] if isinstance(tool, FunctionTool)]

    @property
    def mcp_servers(self) -> list[McpServer]:
        """The servers whose tools the session may call."""
        return [tool for tool in self._fields["tools"] if isinstance(tool, McpServer)]

    def get(self, name: str) -> Any:
        """Return a plain field: `modalities`, `temperature`, `tool_choice` and the like; None when unset."""
        return self._fields.get(name)

    def update(self, body: Mapping[str, Any], *, voice_is_fixed: bool) -> list[str]:
        """Merge the body of `session.update`; return the names of fields to warn of: the agent decides them.

        `voice_is_fixed` after the first audio: the voice cannot change any more. Raises ClientError,
        and then changes nothing.
        """
        for name in ("model", *_UNSUPPORTED):
            if name in body and not (name in _UNSUPPORTED and body[name] is None):
                raise ClientError(
                    "invalid_value" if name == "model" else "unsupported_parameter",
                    "The model is fixed by the URL." if name == "model" else f"{name} is not available here.",
                    f"session.{name}",
                )
        body = {
            name.replace("interim-response", "interim_response"): value
            for name, value in body.items()
            if name not in _UNSUPPORTED
        }
        patch = validate(_Patch, with_voice_object(body), "session")
        changes = {name: getattr(patch, name) for name in patch.model_fields_set}
        ignored: list[str] = (
            [name for name in _AGENT_OWNED if name in changes] if self.agent is not None else []
        )
        if ignored and self._agent_updates == "error":
            raise ClientError("unsupported_parameter", "The agent decides this.", f"session.{ignored[0]}")
        for name in ignored:
            del changes[name]
        if voice_is_fixed and changes.get("voice", self.voice) not in (None, self.voice):
            raise ClientError(
                "cannot_update_voice", "The voice cannot change once it was heard.", "session.voice"
            )
        before = dict(self._fields)
        self._apply(changes)
        try:
            check_size(self.echo(), "session")
        except ClientError:
            self._fields = before
            raise
        return ignored if self._agent_updates == "warning" else []

    def hearing(self) -> HearingOptions:
        """Return what the shell needs to listen."""
        echo: EchoCancellation | None = self._fields["input_audio_echo_cancellation"]
        stereo = echo is not None and echo.reference_source == "client" and echo.channels == 2
        detection = self.turn_detection
        level = "default"
        if detection is not None and not isinstance(detection, OpenAISemanticVad):
            utterance = detection.end_of_utterance_detection
            level = utterance.threshold_level if utterance is not None else level
        return HearingOptions(
            audio_format=self._fields["input_audio_format"],
            sampling_rate_hz=self._fields["input_audio_sampling_rate"],
            channels=2 if stereo else 1,
            turns=None if detection is None else self._turn_options(detection),
            end_of_utterance_threshold={"low": 0.3, "high": 0.7}.get(level, 0.5),
        )

    def input_bytes_per_ms(self) -> float:
        """Return how many bytes of `input_audio_buffer.append` make a millisecond."""
        hearing = self.hearing()
        if hearing.audio_format != "pcm16":
            return 8.0 * hearing.channels
        return hearing.sampling_rate_hz * 2 * hearing.channels / 1_000

    def echo(self) -> Event:
        """Return the whole session as `session.created` and `session.updated` show it."""
        fields = self._fields
        session: Event = {"id": self.session_id, "model": self._model}
        for name in ("modalities", "instructions", "voice", "input_audio_format", "output_audio_format"):
            session[name] = _shown(fields[name])
        for name in ("input_audio_transcription", "input_audio_noise_reduction", "turn_detection"):
            session[name] = _shown(fields[name])
        session["tools"] = [tool.echo() for tool in fields["tools"]]
        session["tool_choice"] = _shown(fields["tool_choice"])
        if fields.get("temperature") is not None:
            session["temperature"] = fields["temperature"]
        session["max_response_output_tokens"] = fields["max_response_output_tokens"]
        session["expires_at"] = self._expires_at
        session["object"] = "realtime.session"
        session["input_audio_sampling_rate"] = fields["input_audio_sampling_rate"]
        session["animation"] = _shown(fields["animation"])
        session["input_audio_echo_cancellation"] = _shown(fields["input_audio_echo_cancellation"])
        session["avatar"] = None
        session["output_audio_timestamp_types"] = fields["output_audio_timestamp_types"]
        if fields.get("reasoning_effort") is not None:
            session["reasoning_effort"] = fields["reasoning_effort"]
        session |= {"truncation_strategy": fields["truncation_strategy"], "include": fields["include"]}
        session |= {"greeting": None, "handoff": None}
        for name in ("parallel_tool_calls", "interim_response", "metadata"):
            if fields.get(name) is not None:
                session[name] = _shown(fields[name])
        if self.agent is not None:
            session["agent"] = {
                "type": "agent",
                "name": self.agent.name,
                "description": None,
                "agent_id": self.agent.agent_id,
                "thread_id": self.agent.thread_id,
            }
        return session

    def _apply(self, changes: dict[str, Any]) -> None:
        # An empty prompt keeps the service's own (recorded).
        if not changes.get("instructions", _DEFAULT_INSTRUCTIONS):
            changes["instructions"] = _DEFAULT_INSTRUCTIONS
        for name in ("modalities", "voice", "input_audio_format", "output_audio_format", "tool_choice"):
            if name in changes and changes[name] is None:
                del changes[name]
        for name, default in (("tools", []), ("max_response_output_tokens", "inf")):
            if name in changes and changes[name] is None:
                changes[name] = default
        if changes.get("input_audio_sampling_rate", 0) is None:
            changes["input_audio_sampling_rate"] = 24_000
        merged = {**self._fields, **changes}
        if merged["input_audio_format"] == "pcm16" and merged["input_audio_sampling_rate"] == 8_000:
            raise ClientError(
                "invalid_value",
                "pcm16 input is sampled at 16000 or 24000 Hz.",
                "session.input_audio_sampling_rate",
            )
        self._settle(changes)
        self._fields |= changes

    def _settle(self, changes: dict[str, Any]) -> None:
        """Fill in what each kind of session shows for a field that the client left open (recorded)."""
        transcription = changes.get("input_audio_transcription")
        if self.profile.transcript_first:
            if transcription is not None and transcription.language is None:
                transcription.language = ""
            return
        detection = changes.get("turn_detection")
        if isinstance(detection, ServerVad):
            detection.threshold = 0.5 if detection.threshold is None else detection.threshold
            if detection.prefix_padding_ms is None:
                detection.prefix_padding_ms = self._padding_ms(semantic=False)
            if detection.silence_duration_ms is None:
                detection.silence_duration_ms = _DEFAULT_SILENCE_MS

    def _default_turn_detection(self, native: bool, model: str | None) -> ServerVad:
        return ServerVad(
            type="server_vad",
            threshold=0.5,
            prefix_padding_ms=_NATIVE_PADDING_MS if native else self._padding_ms(semantic=False),
            silence_duration_ms=_NATIVE_SILENCE_MS
            if native and model != _PHASED_MODEL
            else _DEFAULT_SILENCE_MS,
        )

    def _padding_ms(self, *, semantic: bool) -> int:
        if not self._wide_padding:
            return 300
        return 420 if semantic else 400

    def _turn_options(self, detection: TurnDetection) -> TurnOptions:
        if isinstance(detection, OpenAISemanticVad):
            return TurnOptions(
                threshold=0.5,
                prefix_padding_ms=_NATIVE_PADDING_MS,
                silence_duration_ms=_NATIVE_SILENCE_MS,
                speech_duration_ms=200,
                end_of_utterance_timeout_ms=_EAGERNESS_TIMEOUT_MS[detection.eagerness],
            )
        semantic = not isinstance(detection, ServerVad)
        utterance = detection.end_of_utterance_detection
        timeout_ms = None
        if utterance is not None:
            timeout_ms = utterance.timeout_ms
            timeout_ms = _END_OF_UTTERANCE_TIMEOUT_MS if timeout_ms is None else timeout_ms
        return TurnOptions(
            threshold=_or(detection.threshold, 0.5),
            prefix_padding_ms=_or(detection.prefix_padding_ms, self._padding_ms(semantic=semantic)),
            silence_duration_ms=_or(detection.silence_duration_ms, _DEFAULT_SILENCE_MS),
            speech_duration_ms=_or(detection.speech_duration_ms, 80 if semantic else 200),
            end_of_utterance_timeout_ms=timeout_ms,
        )


def with_voice_object(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with a voice given by name spelled out: a plain string is a voice of OpenAI."""
    voice = body.get("voice")
    return {**body, "voice": {"type": "openai", "name": voice}} if isinstance(voice, str) else dict(body)


def _shown(value: Any) -> Any:
    return value.echo() if hasattr(value, "echo") else value


def _shown_model(model: str | None, profile: Profile) -> str | None:
    return f"{model}-global-standard" if model is not None and not profile.transcript_first else model


def _or(value: N | None, default: N) -> N:
    return default if value is None else value
