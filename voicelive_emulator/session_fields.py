"""The objects inside a session: voice, turn detection, transcription, tools.

Each model checks what a client sends and gives the echo of the live service: every field that is
not set as an explicit null, in recorded key order. Defaults and merging are the business of
`session_config`.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag
from pydantic_core import PydanticCustomError

from voicelive_emulator.events import Event
from voicelive_emulator.validation import TAG, Strict, tag_of

Milliseconds = Annotated[int, Field(ge=0, le=60_000)]
Modality = Literal["text", "audio"]
OutputFormat = Literal[
    "pcm16",
    "pcm16_16000hz",
    "pcm16_8000hz",
    "pcm16-16000hz",
    "pcm16-8000hz",
    "g711_ulaw",
    "g711_alaw",
]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]


def _token_limit(value: object) -> int | str:
    if value == "inf" or (type(value) is int and 1 <= value <= 4096):
        return value
    raise PydanticCustomError("token_limit", "it is an integer from 1 to 4096, or 'inf'")


MaxTokens = Annotated[int | str, PlainValidator(_token_limit)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]

OpenAIVoiceName = Literal[
    "alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"
]


class OpenAIVoice(Strict):
    """A voice of a native model; also what a plain string means."""

    type: Literal["openai"]
    name: OpenAIVoiceName

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return {"name": self.name, "type": self.type}


class NativeVoice(Strict):
    """A voice of the model `azure-realtime`."""

    type: Literal["azure-realtime-native"]
    name: str = Field(min_length=1)

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return {"name": self.name, "type": self.type}


class _AzureVoice(Strict):
    """What all Azure voices share. The recorded echo shows `name` before `type`."""

    temperature: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    custom_lexicon_url: str | None = None
    custom_text_normalization_url: str | None = None
    prefer_locales: list[str] | None = None
    locale: str | None = None
    style: str | None = None
    pitch: str | None = None
    rate: str | None = None
    volume: str | None = None

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        fields = self.model_dump()
        shared = {name: fields.pop(name) for name in _AzureVoice.model_fields}
        head: Event = {name: fields.pop(name) for name in ("name", "type") if name in fields}
        return {**head, **shared, **fields}


class StandardVoice(_AzureVoice):
    """A voice that Azure offers to all."""

    type: Literal["azure-standard"]
    name: str = Field(min_length=1)


class CustomVoice(_AzureVoice):
    """A voice that belongs to a customer: it exists at one endpoint only."""

    type: Literal["azure-custom"]
    name: str = Field(min_length=1)
    endpoint_id: str = Field(min_length=1)


class PersonalVoice(_AzureVoice):
    """A voice made from a short sample of a person."""

    type: Literal["azure-personal"]
    name: str = Field(min_length=1)
    model: str = Field(min_length=1)


class AvatarVoice(_AzureVoice):
    """A voice in step with an avatar."""

    type: Literal["avatar-voice-sync"]
    model: str = Field(min_length=1)


Voice = Annotated[
    Annotated[OpenAIVoice, Tag(f"{TAG}openai")]
    | Annotated[NativeVoice, Tag(f"{TAG}azure-realtime-native")]
    | Annotated[StandardVoice, Tag(f"{TAG}azure-standard")]
    | Annotated[CustomVoice, Tag(f"{TAG}azure-custom")]
    | Annotated[PersonalVoice, Tag(f"{TAG}azure-personal")]
    | Annotated[AvatarVoice, Tag(f"{TAG}avatar-voice-sync")],
    Discriminator(tag_of),
]


class EndOfUtteranceDetection(Strict):
    """Whether a pause ends the turn; `threshold` and `timeout` are old names that are still echoed."""

    model: Literal["semantic_detection_v1", "semantic_detection_v1_en", "semantic_detection_v1_multilingual"]
    threshold: float | None = None
    threshold_level: Literal["low", "medium", "high", "default"] = "default"
    timeout: float | None = None
    timeout_ms: Milliseconds | None = None

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return self.model_dump()


class _TurnDetection(Strict):
    """What every kind of turn detection decides."""

    create_response: bool = True
    interrupt_response: bool = True
    auto_truncate: bool = False
    appended_text_after_truncation: str | None = None


class _VoiceActivityDetection(_TurnDetection):
    """Turn detection that listens for voice. None means the service's default."""

    threshold: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    prefix_padding_ms: Milliseconds | None = None
    silence_duration_ms: Milliseconds | None = None
    speech_duration_ms: Milliseconds | None = None
    idle_timeout_ms: Milliseconds | None = None
    end_of_utterance_detection: EndOfUtteranceDetection | None = None

    def _head(self) -> Event:
        return {
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
            "create_response": self.create_response,
            "interrupt_response": self.interrupt_response,
            "idle_timeout_ms": self.idle_timeout_ms,
        }

    def _end_of_utterance(self) -> Event:
        if self.end_of_utterance_detection is None:
            return {}
        return {"end_of_utterance_detection": self.end_of_utterance_detection.echo()}

    def _tail(self) -> Event:
        return {
            "auto_truncate": self.auto_truncate,
            "appended_text_after_truncation": self.appended_text_after_truncation,
        }


class ServerVad(_VoiceActivityDetection):
    """Voice activity and a fixed silence."""

    type: Literal["server_vad"]

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return {
            "type": self.type,
            **self._head(),
            "speech_duration_ms": self.speech_duration_ms,
            **self._end_of_utterance(),
            **self._tail(),
        }


class SemanticVad(_VoiceActivityDetection):
    """Azure's turn detection, in three spellings."""

    type: Literal["azure_semantic_vad", "azure_semantic_vad_en", "azure_semantic_vad_multilingual"]
    neg_threshold: float | None = None
    window_size: int | None = None
    distinct_ci_phones: int | None = None
    require_vowel: bool | None = None
    require_vowel_assistant_speaking: bool | None = None
    remove_filler_words: bool = False
    languages: list[str] | None = None

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return {
            "type": self.type,
            **self._head(),
            "profile": "classic",
            **self._end_of_utterance(),
            "neg_threshold": self.neg_threshold,
            "speech_duration_ms": self.speech_duration_ms,
            "window_size": self.window_size,
            "distinct_ci_phones": self.distinct_ci_phones,
            "require_vowel": self.require_vowel,
            "require_vowel_assistant_speaking": self.require_vowel_assistant_speaking,
            "remove_filler_words": self.remove_filler_words,
            "languages": self.languages,
            **self._tail(),
        }


class OpenAISemanticVad(_TurnDetection):
    """Turn detection of native models; the service echoes it without null fillers."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return {
            "type": self.type,
            "eagerness": self.eagerness,
            "create_response": self.create_response,
            "interrupt_response": self.interrupt_response,
            "auto_truncate": self.auto_truncate,
        }


TurnDetection = Annotated[
    Annotated[ServerVad, Tag(f"{TAG}server_vad")]
    | Annotated[SemanticVad, Tag(f"{TAG}azure_semantic_vad")]
    | Annotated[OpenAISemanticVad, Tag(f"{TAG}semantic_vad")],
    Discriminator(
        lambda data: (
            f"{TAG}azure_semantic_vad"
            if (tag := tag_of(data)) is not None and tag.startswith(f"{TAG}azure_semantic_vad")
            else tag
        )
    ),
]


class Transcription(Strict):
    """How the caller's speech is written down."""

    model: str = Field(min_length=1)
    language: str | None = None
    prompt: str | None = None
    delay: str | None = None
    custom_speech: dict[str, str] | None = None
    phrase_list: list[str] | None = None

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return self.model_dump()


class Animation(Strict):
    """What moves a face with the voice; shapes of a face are not made here, only visemes."""

    model_name: str | None = None
    outputs: list[Literal["viseme_id"]] = Field(min_length=1)

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return self.model_dump()


class NoiseReduction(Strict):
    """Accepted and shown; the emulator's recognition is better without it."""

    type: Literal["azure_deep_noise_suppression", "near_field", "far_field"]

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return self.model_dump()


class EchoCancellation(Strict):
    """With two channels, the second carries what the client plays."""

    type: Literal["server_echo_cancellation"]
    reference_source: Literal["server", "client"] = "server"
    channels: Literal[1, 2] = 1

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return self.model_dump()


class FunctionTool(Strict):
    """A function that the client carries out."""

    type: Literal["function"]
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def echo(self) -> Event:
        """Return the object as a session shows it: fields in another order than clients send."""
        return {
            "name": self.name,
            "description": self.description,
            "type": self.type,
            "parameters": self.parameters,
        }


Tool = Annotated[Annotated[FunctionTool, Tag(f"{TAG}function")], Discriminator(tag_of)]


class _FunctionName(Strict):
    name: str = Field(min_length=1)


class NamedTool(Strict):
    """A `tool_choice` that names one function, in either of the spellings that the SDK documents."""

    type: Literal["function"]
    name: str | None = None
    function: _FunctionName | None = None

    @property
    def function_name(self) -> str:
        """The function to call."""
        return self.name or (self.function.name if self.function else "")

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return {"type": self.type, "name": self.function_name}


ToolChoice = Annotated[
    Annotated[str, Tag(f"{TAG}name")] | Annotated[NamedTool, Tag(f"{TAG}function")],
    Discriminator(lambda choice: f"{TAG}name" if isinstance(choice, str) else tag_of(choice)),
]
"""`auto`, `none`, `required`, or a function by its name."""


class InterimResponse(Strict):
    """Something to say while the answer takes long; both spellings of the type are documented."""

    type: Literal[
        "static_interim_response",
        "llm_interim_response",
        "static-interim-response",
        "llm-interim-response",
    ]
    triggers: list[Literal["latency", "tool"]] | None = None
    latency_threshold_ms: Milliseconds | None = None
    texts: list[str] | None = None
    model: str | None = None
    instructions: str | None = None
    max_completion_tokens: int | None = None

    @property
    def is_static(self) -> bool:
        """Whether the client gives the texts."""
        return self.type.startswith("static")

    def echo(self) -> Event:
        """Return the object as a session shows it."""
        return self.model_dump(exclude_none=True)
