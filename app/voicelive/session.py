"""The session that we ask of Voice Live, made from Settings with the SDK's own models."""

from collections.abc import Mapping
from typing import Any, Literal

from azure.ai.voicelive import models

from app.config import ClassicAgent, Model, Settings

ClientEvent = dict[str, Any]
"""One client event of Voice Live, ready to be sent as JSON."""

Role = Literal["user", "assistant"]

AZURE_VOICES = ("azure-custom", "azure-standard")


def session_update(settings: Settings) -> ClientEvent:
    """The `session.update` of a new call: voice, PCM16 24 kHz both ways, turn detection, clean-up of the
    microphone's sound, transcription, and word timestamps where the voice can give them (Azure voices only).
    """
    mode = settings.agent_mode
    session = models.RequestSession(
        modalities=[models.Modality.TEXT, models.Modality.AUDIO],
        voice=_voice(settings),
        input_audio_format=models.InputAudioFormat.PCM16,
        output_audio_format=models.OutputAudioFormat.PCM16,
        input_audio_sampling_rate=24_000,
        turn_detection=_turn_detection(settings),
        input_audio_echo_cancellation=models.AudioEchoCancellation(),
        input_audio_noise_reduction=models.AudioNoiseReduction(type="azure_deep_noise_suppression"),
        input_audio_transcription=models.AudioInputTranscriptionOptions(
            model=settings.transcription_model, language=settings.input_language
        ),
    )
    if settings.azure_voicelive_voice_type in AZURE_VOICES:
        session.output_audio_timestamp_types = [models.AudioTimestampType.WORD]
    if isinstance(mode, Model) and mode.instructions:
        session.instructions = mode.instructions
    return _sendable(models.ClientEventSessionUpdate(session=session))


def greeting(settings: Settings) -> list[ClientEvent]:
    """What makes the agent speak first; empty where it shall not."""
    if not settings.enable_proactive_greeting:
        return []
    text = settings.greeting_text
    return [response_create()] if text is None else say(settings, text)


def say(settings: Settings, text: str) -> list[ClientEvent]:
    """What makes the agent say exactly this.

    A classic agent's api-version (2025-10-01) has no `pre_generated_assistant_message`, so a system item
    asks for the exact text there.
    """
    if isinstance(settings.agent_mode, ClassicAgent):
        wish = f'Speak to the caller now by saying exactly this text and nothing else: "{text}"'
        item = models.SystemMessageItem(content=[models.InputTextContentPart(text=wish)])
        return [_sendable(models.ClientEventConversationItemCreate(item=item)), response_create()]
    message = models.AssistantMessageItem(content=[models.OutputTextContentPart(text=text)])
    params = models.ResponseCreateParams(pre_generated_assistant_message=message)
    return [_sendable(models.ClientEventResponseCreate(response=params))]


def response_create() -> ClientEvent:
    """Ask the agent to answer."""
    return _sendable(models.ClientEventResponseCreate())


def response_cancel(response_id: str) -> ClientEvent:
    """Stop a response that is being generated. Too late, it is answered `response_cancel_not_active`."""
    return _sendable(models.ClientEventResponseCancel(response_id=response_id))


def typed_message(text: str) -> ClientEvent:
    """What the caller typed, as an item of the conversation."""
    item = models.UserMessageItem(content=[models.InputTextContentPart(text=text)])
    return _sendable(models.ClientEventConversationItemCreate(item=item))


def remembered(role: Role, text: str) -> ClientEvent:
    """What was said before, told to a session that does not know it."""
    if role == "user":
        return typed_message(text)
    item = models.AssistantMessageItem(content=[models.OutputTextContentPart(text=text)])
    return _sendable(models.ClientEventConversationItemCreate(item=item))


def truncate(item_id: str, heard_ms: int) -> ClientEvent:
    """Tell the agent how much of its item was heard. A second one is answered `item_already_truncated`."""
    return _sendable(
        models.ClientEventConversationItemTruncate(item_id=item_id, content_index=0, audio_end_ms=heard_ms)
    )


def contradiction(asked: ClientEvent, applied: Mapping[str, Any]) -> str | None:
    """The first field in which the service's session contradicts what we asked for, or None.

    Compared are formats and Azure voices, where the echo is there at all. The model is not: the service
    renames it.
    """
    wanted = asked["session"]
    for name in ("input_audio_format", "output_audio_format"):
        if applied.get(name) not in (None, wanted[name]):
            return name
    if wanted["voice"]["type"] not in AZURE_VOICES:
        return None
    voice = applied.get("voice")
    if not isinstance(voice, Mapping):
        return None
    for name in ("type", "name", "endpoint_id"):
        if voice.get(name) not in (None, wanted["voice"].get(name)):
            return f"voice.{name}"
    return None


def _voice(settings: Settings) -> Any:
    name = settings.voice_name
    match settings.azure_voicelive_voice_type:
        case "azure-custom":
            return models.AzureCustomVoice(
                name=name, endpoint_id=settings.azure_voicelive_voice_endpoint_id or ""
            )
        case "azure-standard":
            return models.AzureStandardVoice(name=name)
        case "openai":
            return models.OpenAIVoice(name=name)
        case "azure-realtime-native":
            return models.AzureRealtimeNativeVoice(name=name)


def _turn_detection(settings: Settings) -> models.TurnDetection:
    options: dict[str, Any] = {
        "threshold": settings.vad_threshold,
        "prefix_padding_ms": settings.vad_prefix_padding_ms,
        "silence_duration_ms": settings.vad_silence_duration_ms,
    }
    if settings.vad_auto_truncate:
        options["auto_truncate"] = True
    if settings.interruption_policy == "gateway":
        # Then the gateway decides what interrupts, and asks for each answer itself.
        options |= {"interrupt_response": False, "create_response": False}
    match settings.vad_type:
        case "server_vad":
            return models.ServerVad(**options)
        case "azure_semantic_vad":
            return models.AzureSemanticVad(**options)
        case "azure_semantic_vad_multilingual":
            return models.AzureSemanticVadMultilingual(**options)


def _sendable(event: models.ClientEvent) -> ClientEvent:
    sendable: ClientEvent = event.as_dict()
    return sendable
