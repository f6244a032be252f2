"""Cut an ONNX model into parts that run one after the other.

A file of ONNX is one Protocol Buffers message. Only its wire format is read here: nodes, weights and
types are carried over as they are, and the package `onnx` is not needed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_LENGTH_DELIMITED = 2

# Field numbers in onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER = 1, 2, 5
_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT = 1, 2
_TENSOR_NAME = 8
_VALUE_INFO_NAME = 1


@dataclass(frozen=True, slots=True)
class _Node:
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    message: memoryview


@dataclass(slots=True)
class _Graph:
    nodes: list[_Node] = field(default_factory=list)
    weights: dict[str, memoryview] = field(default_factory=dict)
    types: dict[str, memoryview] = field(default_factory=dict)


class ModelGraph:
    """An ONNX model to take parts from. Nodes with graphs of their own (If, Loop) are not looked into."""

    def __init__(self, model: bytes) -> None:
        self._frame = b""
        self._graph = _Graph()
        for number, value, whole in _fields(memoryview(model)):
            if number == _MODEL_GRAPH:
                self._read_graph(value)
            else:
                self._frame += whole
        self._producers = {name: node for node in self._graph.nodes for name in node.outputs}

    def part(self, inputs: Iterable[str], outputs: Iterable[str]) -> bytes:
        """Return the model that computes the tensors `outputs` from the tensors `inputs`.

        Raises KeyError for a tensor that the model does not have.
        """
        inputs, outputs = list(inputs), list(outputs)
        needed = self._needed(set(inputs), outputs)
        graph = [
            *(_field(_GRAPH_NODE, n.message) for n in self._graph.nodes if not needed.isdisjoint(n.outputs)),
            *(_field(_GRAPH_INITIALIZER, w) for name, w in self._graph.weights.items() if name in needed),
            _field(_GRAPH_NAME, b"part"),
            *(_field(_GRAPH_INPUT, self._graph.types[name]) for name in inputs),
            *(_field(_GRAPH_OUTPUT, self._graph.types[name]) for name in outputs),
        ]
        return self._frame + _field(_MODEL_GRAPH, b"".join(graph))

    def _needed(self, given: set[str], wanted: list[str]) -> set[str]:
        needed: set[str] = set()
        pending = list(wanted)
        while pending:
            name = pending.pop()
            if name not in needed and name not in given:
                needed.add(name)
                if name in self._producers:
                    pending += self._producers[name].inputs
        return needed

    def _read_graph(self, graph: memoryview) -> None:
        for number, value, _ in _fields(graph):
            if number == _GRAPH_NODE:
                self._graph.nodes.append(
                    _Node(_names(value, _NODE_INPUT), _names(value, _NODE_OUTPUT), value)
                )
            elif number == _GRAPH_INITIALIZER:
                self._graph.weights[_names(value, _TENSOR_NAME)[0]] = value
            elif number in {_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO}:
                self._graph.types[_names(value, _VALUE_INFO_NAME)[0]] = value


def _names(message: memoryview, field_number: int) -> tuple[str, ...]:
    return tuple(str(value, "utf-8") for number, value, _ in _fields(message) if number == field_number)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield each field's number, its value and the whole of it; only length-delimited values are of use."""
    position = 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        match key & 7:
            case 0:
                value_start = position
                _, position = _varint(message, position)
            case 1:
                value_start, position = position, position + 8
            case 2:
                length, value_start = _varint(message, position)
                position = value_start + length
            case 5:
                value_start, position = position, position + 4
            case wire_type:
                raise ValueError(f"not an ONNX model: wire type {wire_type}")
        yield key >> 3, message[value_start:position], message[start:position]


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _field(number: int, value: bytes | memoryview) -> bytes:
    return _encoded(number << 3 | _LENGTH_DELIMITED) + _encoded(len(value)) + value


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
