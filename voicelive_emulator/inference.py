"""How every model runs: one onnxruntime session per model, shared by all sessions of the emulator.

A run uses one thread, the caller's: the emulator runs several models at once in a bounded pool, and
threads of onnxruntime's own that spin between runs would take the cores from each other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

Tensor = NDArray[Any]

_LOG_ERRORS_ONLY = 3


class Model:
    """A loaded model. `run` blocks and may be called from several threads at once."""

    def __init__(self, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs: tuple[str, ...] = tuple(tensor.name for tensor in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(tensor.name for tensor in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return every output, in the order of `outputs`."""
        results: list[Tensor] = self._session.run(None, dict(inputs))
        return results
