"""Token counts of a response: complete, whole numbers, in the shape of the recordings.

No model counts here, so the figures are estimates: four characters of text make a token, and audio
counts at the rates that Microsoft documents, about 10 tokens per second in and 20 out.
"""

from typing import Final

from voicelive_emulator.events import Event

_CHARACTERS_PER_TOKEN: Final = 4
_INPUT_TOKENS_PER_MS: Final = 0.010
_OUTPUT_TOKENS_PER_MS: Final = 0.020


def text_tokens(text: str) -> int:
    """Return how many tokens a text counts as; at least one unless it is empty."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def usage(*, input_text: str, input_audio_ms: float, output_text: str, output_audio_ms: float) -> Event:
    """Return the `usage` object of a response. The sums are those of the recordings:
    total = input + output, input = text + audio + image, output = text + audio.
    """
    text_in, audio_in = text_tokens(input_text), round(input_audio_ms * _INPUT_TOKENS_PER_MS)
    text_out, audio_out = text_tokens(output_text), round(output_audio_ms * _OUTPUT_TOKENS_PER_MS)
    return {
        "total_tokens": text_in + audio_in + text_out + audio_out,
        "input_tokens": text_in + audio_in,
        "output_tokens": text_out + audio_out,
        "input_token_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "image_tokens": 0,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {
            "text_tokens": text_out,
            "audio_tokens": audio_out,
            "reasoning_tokens": 0,
        },
    }
