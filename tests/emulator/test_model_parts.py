"""The parts of a cut model compute together what the whole model computes."""

import numpy as np
import pytest

from voicelive_emulator.inference import Model, Tensor
from voicelive_emulator.model_files import ModelFiles
from voicelive_emulator.model_parts import ModelGraph

pytest_plugins = ("tests.emulator.speech_fixtures",)


def test_two_parts_are_the_whole(model_files: ModelFiles) -> None:
    model = model_files.voice.read_bytes()
    graph = ModelGraph(model)
    plan = "/Mul_7_output_0"
    inputs: dict[str, Tensor] = {
        "input": np.array([[1, 0, 20, 0, 59, 0, 24, 0, 27, 0, 2]], np.int64),
        "input_lengths": np.array([11], np.int64),
        "scales": np.array([0.0, 1.0, 0.0], np.float32),  # no randomness
    }
    whole = Model(model).run(inputs)[0]
    planned = Model(graph.part(list(inputs), [plan])).run(inputs)[0]
    sound = Model(graph.part([plan], ["output"])).run({plan: planned})[0]
    assert sound == pytest.approx(whole, abs=1e-6)
    assert np.abs(whole).max() > 0.05


def test_a_part_takes_and_gives_what_was_asked_for(model_files: ModelFiles) -> None:
    part = Model(ModelGraph(model_files.voice.read_bytes()).part(["/Mul_7_output_0"], ["output"]))
    assert part.inputs == ("/Mul_7_output_0",)
    assert part.outputs == ("output",)


def test_an_unknown_tensor(model_files: ModelFiles) -> None:
    with pytest.raises(KeyError, match="nowhere"):
        ModelGraph(model_files.voice.read_bytes()).part(["input"], ["nowhere"])


def test_not_a_model() -> None:
    with pytest.raises(ValueError, match="not an ONNX model"):
        ModelGraph(b"\x0f not a model")
