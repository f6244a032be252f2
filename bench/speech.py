"""How long the emulator's speech models take: `python -m bench.speech`.

Prints medians over repeated runs in one thread, the time to load each model and the memory of the
process. Other work on the machine lengthens the elapsed time, less so the time on the processor.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import psutil

from tests.speech_data import two_cities
from voicelive_emulator.audio import InputDecoder, OutputEncoder
from voicelive_emulator.model_files import find_model_files
from voicelive_emulator.recognition import Recognizer
from voicelive_emulator.synthesis import Synthesizer
from voicelive_emulator.voice_activity import FRAME_SAMPLES, EndOfUtteranceModel, VoiceActivityModel

T = TypeVar("T")

_RUNS = 15
_RATE_HZ = 16_000
_CLAUSES = {
    4: "Sure, one moment {}.",
    12: "Our {} plan is nineteen dollars a month with no setup fee.",
}
_FILLERS = [
    "please",
    "starter",
    "now",
    "sir",
    "basic",
    "yearly",
    "family",
    "business",
    "home",
    "fast",
    "new",
    "old",
]


def main() -> None:
    """Measure everything and print one line per figure."""
    files = find_model_files()
    before_mib = _memory_mib()
    voice_activity = _loaded("voice activity", lambda: VoiceActivityModel(files))
    end_of_utterance = _loaded("end of utterance", lambda: EndOfUtteranceModel(files))
    recognizer = _loaded("recognition", lambda: Recognizer(files))
    synthesizer = _loaded("synthesis", lambda: Synthesizer(files))

    speech = two_cities().model_samples()[_RATE_HZ // 2 :]
    stream = voice_activity.new_stream()
    _report("voice activity, one 32 ms frame", lambda: stream.probabilities(speech[:FRAME_SAMPLES]))
    _report("end of utterance, 4 s", lambda: end_of_utterance.probability(speech[: 4 * _RATE_HZ]))
    for seconds in (2, 5, 10):
        _report(f"recognition, {seconds} s", partial(recognizer.transcribe, speech[: seconds * _RATE_HZ]))
    for words, clause in _CLAUSES.items():
        _measure_synthesis(synthesizer, words, clause)

    decoder, encoder = InputDecoder("pcm16", 24_000), OutputEncoder("g711_ulaw")
    frame = bytes(960)
    _report("decode 20 ms of pcm16 at 24 kHz", lambda: decoder.decode(frame))
    _report("encode 20 ms to g711_ulaw", lambda: encoder.encode(frame))
    _line("memory of the models", f"{_memory_mib() - before_mib:.0f} MiB")


def _measure_synthesis(synthesizer: Synthesizer, words: int, clause: str) -> None:
    """Each run speaks another text, since what was spoken before is only fetched."""
    first_ms, first_busy_ms, whole_ms, sound_ms = [], [], [], []
    for filler in _FILLERS:
        start, start_busy = time.perf_counter(), time.process_time()
        pieces = synthesizer.stream(clause.format(filler))
        sound = next(pieces).pcm
        first_ms.append((time.perf_counter() - start) * 1_000)
        first_busy_ms.append((time.process_time() - start_busy) * 1_000)
        sound += b"".join(piece.pcm for piece in pieces)
        whole_ms.append((time.perf_counter() - start) * 1_000)
        sound_ms.append(len(sound) / 48)
    first = f"{statistics.median(first_ms):.0f} ms (processor {statistics.median(first_busy_ms):.0f})"
    rest = f"{statistics.median(whole_ms):.0f} ms whole, {statistics.median(sound_ms):.0f} ms of sound"
    _line(f"synthesis, {words} words", f"first sound {first}, {rest}")


def _loaded(name: str, load: Callable[[], T]) -> T:
    start = time.perf_counter()
    model = load()
    _line(f"load {name}", f"{(time.perf_counter() - start) * 1_000:.0f} ms")
    return model


def _report(name: str, run: Callable[[], object]) -> None:
    run()
    elapsed, busy = [], []
    for _ in range(_RUNS):
        start, start_busy = time.perf_counter(), time.process_time()
        run()
        elapsed.append((time.perf_counter() - start) * 1_000)
        busy.append((time.process_time() - start_busy) * 1_000)
    spread = f"p95 {np.quantile(elapsed, 0.95):.2f}, processor {statistics.median(busy):.2f}"
    _line(name, f"{statistics.median(elapsed):.2f} ms ({spread})")


def _memory_mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def _line(name: str, figure: str) -> None:
    sys.stdout.write(f"{name:36} {figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
