"""Which of the client's functions the script means, and its arguments. Pure.

A script has phrases for what a function may be about ("call back", "order"); a client's functions
have names and descriptions of its own. The two are matched here.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from voicelive_emulator.agents import Tool
from voicelive_emulator.understanding import Phrase, Utterance, number_in, strongest, words_of

Known = Sequence[tuple[Sequence[Phrase], str]]
"""What the script knows: how properties are called that mean it, and its value."""

_WORD_IN_NAME: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CAPITALISED: Final = re.compile(r"(?<=\S )(?!I\b)[A-Z][\w'-]*(?: [A-Z][\w'-]*)*")
_EMPTY_TEXT: Final = (
    "get set fetch find look up lookup check query search call do make create send show tell read current "
    "the a an of for to tool function info information data details my by"
)
_EMPTY_WORDS: Final = frozenset(_EMPTY_TEXT.split())
_LONGEST_TOLD: Final = 200


def tool_for(phrases: Sequence[Phrase], tools: Sequence[Tool]) -> Tool | None:
    """The first tool whose name contains one of `phrases`, else the first whose description does."""
    if not phrases:
        return None
    for text_of in (_name_words, lambda tool: tool.description):
        for tool in tools:
            if strongest(phrases, Utterance(text_of(tool))):
                return tool
    return None


def tool_named_in(utterance: Utterance, tools: Sequence[Tool]) -> Tool | None:
    """The first tool all of whose name the caller said: "the weather in London" names `get_weather`."""
    said = utterance.words
    for tool in tools:
        named = [word for word in words_of(_name_words(tool)) if word not in _EMPTY_WORDS]
        if named and all(any(_same_stem(word, other) for other in said) for word in named):
            return tool
    return None


def arguments_from(schema: dict[str, Any], known: Known, utterance: Utterance) -> str:
    """Arguments that fit the JSON schema: from what is known and what was just said, else the simplest.

    Optional properties are given where their value is known.
    """
    return orjson.dumps(_object(schema, known, utterance)).decode()


def simplest_arguments(schema: dict[str, Any]) -> str:
    """Arguments that fit the JSON schema: for each required property the simplest value."""
    return orjson.dumps(_object(schema, (), Utterance(""))).decode()


def value_known(name: str, known: Known) -> str | None:
    """The known value that a property of this name means; None when there is none."""
    words = Utterance(" ".join(_WORD_IN_NAME.findall(name)))
    return next((value for phrases, value in known if strongest(phrases, words)), None)


def speakable(output: str) -> str:
    """What a function gave as something to say; empty where it does not lend itself to that."""
    try:
        told = ", ".join(_told(orjson.loads(output)))
    except orjson.JSONDecodeError:
        told = output
    told = " ".join(told.split()).rstrip(".")
    return told if len(told) <= _LONGEST_TOLD else ""


def _told(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for name, part in value.items():
                if not isinstance(part, dict | list | None):
                    yield f"{' '.join(_WORD_IN_NAME.findall(name))} {part}".strip()
        case list():
            for part in value:
                yield from _told(part)
        case str() | int() | float() if not isinstance(value, bool):
            yield str(value)


def _name_words(tool: Tool) -> str:
    return " ".join(_WORD_IN_NAME.findall(tool.name))


def _same_stem(one: str, other: str) -> bool:
    shortest = min(len(one), len(other))
    return one == other or (shortest >= 4 and one[:shortest] == other[:shortest])


def _object(schema: dict[str, Any], known: Known, utterance: Utterance) -> dict[str, Any]:
    properties: dict[str, Any] = schema.get("properties", {})
    required = schema.get("required", ())
    wanted = [*required, *(name for name in properties if name not in required and value_known(name, known))]
    return {name: _value(name, properties.get(name, {}), known, utterance) for name in wanted}


def _value(name: str, schema: dict[str, Any], known: Known, utterance: Utterance) -> Any:
    if "const" in schema:
        return schema["const"]
    value = value_known(name, known)
    if schema.get("enum"):
        return _chosen(schema, value, utterance)
    match schema.get("type"):
        case "integer" | "number":
            number = number_in(utterance if value is None else Utterance(value))
            return schema.get("default", schema.get("minimum", 0)) if number is None else number
        case "string":
            return _text(schema, value, utterance)
        case "boolean":
            return schema.get("default", False)
        case "array":
            return schema.get("default", [])
        case "null":
            return None
        case _:
            return schema["default"] if "default" in schema else _object(schema, known, utterance)


def _chosen(schema: dict[str, Any], value: str | None, utterance: Utterance) -> Any:
    said = {*utterance.words, *words_of(value or "")}
    for choice in schema["enum"]:
        if words_of(str(choice)) and said.issuperset(words_of(str(choice))):
            return choice
    return schema.get("default", schema["enum"][0])


def _text(schema: dict[str, Any], value: str | None, utterance: Utterance) -> str:
    if value is not None:
        return value
    if "default" in schema:
        return str(schema["default"])
    name = _CAPITALISED.search(utterance.text)
    return name[0] if name else utterance.text
