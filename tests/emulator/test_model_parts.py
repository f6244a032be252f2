"""The parts of a cut model compute together what the whole model computes."""

from pathlib import Path

import numpy as np
import pytest

from voicelive_emulator.inference import Model, Tensor
from voicelive_emulator.model_files import ModelFiles
from voicelive_emulator.model_parts import ModelGraph

pytest_plugins = ("tests.emulator.speech_fixtures",)


PLAN = "/Mul_7_output_0"
"""A tensor of the voice model that alone leads from its inputs to its output."""


@pytest.fixture(scope="module")
def graph(model_files: ModelFiles) -> ModelGraph:
    return ModelGraph(model_files.voice.read_bytes())


def test_two_parts_are_the_whole(model_files: ModelFiles, graph: ModelGraph, tmp_path: Path) -> None:
    inputs: dict[str, Tensor] = {
        "input": np.array([[1, 0, 20, 0, 59, 0, 24, 0, 27, 0, 2]], np.int64),
        "input_lengths": np.array([11], np.int64),
        "scales": np.array([0.0, 1.0, 0.0], np.float32),  # no randomness
    }
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    first.write_bytes(graph.part(list(inputs), [PLAN]))
    second.write_bytes(graph.part([PLAN], ["output"]))
    (whole,) = Model(model_files.voice).run(inputs)
    (planned,) = Model(first).run(inputs)
    (sound,) = Model(second).run({PLAN: planned})
    assert sound == pytest.approx(whole, abs=1e-6)
    assert np.abs(whole).max() > 0.05
    assert (Model(second).inputs, Model(second).outputs) == ((PLAN,), ("output",))
    assert second.stat().st_size < first.stat().st_size < model_files.voice.stat().st_size


def test_an_unknown_tensor(graph: ModelGraph) -> None:
    with pytest.raises(KeyError, match="nowhere"):
        graph.part(["input"], ["nowhere"])


def test_not_a_model() -> None:
    with pytest.raises(ValueError, match="not an ONNX model"):
        ModelGraph(b"\x0f not a model")
