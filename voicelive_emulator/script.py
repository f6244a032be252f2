"""The script of the emulator's agent: its shape, and loading it from YAML with every check.

What a script can say is explained at the top of `telesales.yaml`. After loading, every text has its
facts filled in; what is left in braces are answers of the caller. No dialogue here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import yaml

from voicelive_emulator.understanding import Phrase

Take = Literal["yes_no", "number", "digits", "choice", "name", "nothing"]
Heard = Literal["first", "normal", "last"]
Texts = tuple[str, ...]

_FIGURE = re.compile(r"[\d$£€¥%]|\b(?:dollar|cent|euro|pound)s?\b", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_MOST_WORDS_IN_FIRST_CLAUSE = 5


class ScriptError(Exception):
    """A script that cannot be used: the message names the file, the place in it and what is wrong."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said to an answer, the step that follows, and what a function is about that belongs to it."""

    say: Texts
    go: str
    tool: Sequence[Phrase]


@dataclass(frozen=True, slots=True)
class Step:
    """One question of the script and where its answers lead; `telesales.yaml` explains each field."""

    name: str
    take: Take
    ask: Texts
    enter: str
    yes: Outcome | None
    no: Outcome | None
    then: Outcome | None
    options: Mapping[str, Sequence[Phrase]]
    length: int
    otherwise: str
    answer_before: frozenset[str]
    patience: int
    give_up: Outcome | None
    final: bool


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that callers may ask or say at any time."""

    name: str
    heard: Heard
    phrases: Sequence[Phrase]
    say: Texts
    go: str | None
    repeat: bool
    tool: Sequence[Phrase]


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script; `steps` are in order, the first one opens the call."""

    opener: Texts
    nudge: Texts
    unclear: Texts
    unheard: Texts
    rambling: Texts
    partial: Texts
    looked_up: Texts
    closing: Texts
    yes: Sequence[Phrase]
    no: Sequence[Phrase]
    steps: Mapping[str, Step]
    intents: Sequence[Intent]
    arguments: Mapping[str, Sequence[Phrase]]


def load_script(path: Path | None = None) -> Script:
    """Reads and checks a script; None stands for `telesales.yaml` beside this module.

    Raises ScriptError: unreadable, not of the described shape, a figure outside `facts`, a step or
    placeholder that does not exist, a reply that begins with a long clause.
    """
    source = path or Path(__file__).with_name("telesales.yaml")
    try:
        # BaseLoader reads every value as text, so that a phrase such as `yes` needs no quotes.
        root = _Node(yaml.load(source.read_text("utf-8"), yaml.BaseLoader), "")  # noqa: S506 (makes text only)
        facts = root.child("facts")
        return _script(root, {name: facts.fact(name) for name in facts})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ScriptError) as error:
        raise ScriptError(f"{source}: {error}") from error


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with `{name}` replaced for every name in `values`; other names are left."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def names_in(text: str) -> set[str]:
    """The names in braces in `text`."""
    return set(_PLACEHOLDER.findall(text))


def _script(root: "_Node", facts: Mapping[str, str]) -> Script:
    steps, intents = root.child("steps"), root.child("intents")
    script = Script(
        opener=root.replies("opener", facts),
        nudge=root.replies("nudge", facts),
        unclear=root.replies("unclear", facts),
        unheard=root.replies("unheard", facts),
        rambling=root.replies("rambling", facts),
        partial=root.replies("partial", facts),
        looked_up=root.replies("looked_up", facts),
        closing=root.replies("closing", facts),
        yes=root.phrases("yes"),
        no=root.phrases("no"),
        steps={name: _step(name, steps.child(name), facts) for name in steps},
        intents=[_intent(name, intents.child(name), facts) for name in intents],
        arguments=_arguments(root.child("arguments"), facts),
    )
    root.finish()
    _check_references(script)
    return script


def _step(name: str, node: "_Node", facts: Mapping[str, str]) -> Step:
    take = cast(Take, node.one_of("take", get_args(Take)))
    takes_slot = take not in ("yes_no", "nothing")
    gives_up = node.has("give_up")
    step = Step(
        name=name,
        take=take,
        ask=() if take == "nothing" else node.texts("ask", facts),
        enter=node.text("enter", facts) if node.has("enter") else "",
        yes=_outcome(node.child("yes"), facts) if take == "yes_no" else None,
        no=_outcome(node.child("no"), facts) if take == "yes_no" or node.has("no") else None,
        then=_outcome(node.child("then"), facts) if takes_slot else None,
        options=_options(node.child("options")) if take == "choice" or node.has("options") else {},
        length=node.count("length") if take == "digits" else 0,
        otherwise=node.text("otherwise", facts) if takes_slot else "",
        answer_before=node.names("answer_before"),
        patience=node.count("patience") if gives_up else 0,
        give_up=_outcome(node.child("give_up"), facts) if gives_up else None,
        final=node.flag("final"),
    )
    node.finish()
    return step


def _outcome(node: "_Node", facts: Mapping[str, str]) -> Outcome:
    outcome = Outcome(
        say=node.replies("say", facts),
        go=node.name("go"),
        tool=node.phrases("tool") if node.has("tool") else (),
    )
    node.finish()
    return outcome


def _options(node: "_Node") -> dict[str, Sequence[Phrase]]:
    return {option: node.phrases(option) for option in node}


def _intent(name: str, node: "_Node", facts: Mapping[str, str]) -> Intent:
    intent = Intent(
        name=name,
        heard=cast(Heard, node.one_of("heard", get_args(Heard))) if node.has("heard") else "normal",
        phrases=node.phrases("phrases"),
        say=node.replies("say", facts),
        go=node.name("go") if node.has("go") else None,
        repeat=node.flag("repeat"),
        tool=node.phrases("tool") if node.has("tool") else (),
    )
    node.finish()
    return intent


def _arguments(node: "_Node", facts: Mapping[str, str]) -> dict[str, Sequence[Phrase]]:
    return {fill(f"{{{name}}}", facts): node.phrases(name) for name in node}


def _check_references(script: Script) -> None:
    """Every step, intent and placeholder that is named exists."""
    if not script.steps:
        raise ScriptError("steps: there must be at least one")
    intents = {intent.name for intent in script.intents}
    slots = {step.name for step in script.steps.values() if step.then}
    spoken: list[tuple[str, Texts]] = [
        (name, getattr(script, name))
        for name in ("opener", "nudge", "unclear", "unheard", "rambling", "partial", "closing")
    ]
    spoken.append(("looked_up", tuple(fill(text, {"output": ""}) for text in script.looked_up)))
    spoken.append(("arguments", tuple(script.arguments)))
    for step in script.steps.values():
        place = f"steps.{step.name}"
        spoken.append((place, (*step.ask, step.enter)))
        for name in ("yes", "no", "then", "give_up"):
            outcome: Outcome | None = getattr(step, name)
            if outcome:
                spoken.append((f"{place}.{name}", outcome.say))
                _check_step(f"{place}.{name}.go", outcome.go, script)
        for unknown in sorted(step.answer_before - intents):
            raise ScriptError(f"{place}.answer_before: there is no intent {unknown!r}")
    for intent in script.intents:
        spoken.append((f"intents.{intent.name}", intent.say))
        if intent.go:
            _check_step(f"intents.{intent.name}.go", intent.go, script)
    for place, texts in spoken:
        for placeholder in _PLACEHOLDER.findall(" ".join(texts)):
            if placeholder not in slots:
                raise ScriptError(f"{place}: {{{placeholder}}} is neither a fact nor an answer to a step")


def _check_step(place: str, name: str, script: Script) -> None:
    if name not in script.steps:
        raise ScriptError(f"{place}: there is no step {name!r}")


class _Node:
    """One mapping of the file: hands out its values checked, and knows its place for the messages."""

    def __init__(self, content: object, place: str) -> None:
        if not isinstance(content, dict) or not content:
            raise ScriptError(f"{place or 'the file'}: must be a mapping of names to values")
        self._place = place
        self._content: dict[str, object] = dict(content)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._content))

    def has(self, key: str) -> bool:
        return key in self._content

    def finish(self) -> None:
        """Refuses what nobody took: a misspelt key must not be silently without effect."""
        for key in self._content:
            raise self._problem(key, "is not known here")

    def child(self, key: str) -> "_Node":
        return _Node(self._take(key), f"{self._place}.{key}".lstrip("."))

    def name(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value:
            raise self._problem(key, "must be a name")
        return value

    def names(self, key: str) -> frozenset[str]:
        value = self._take(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._problem(key, "must be a list of names")
        return frozenset(value)

    def one_of(self, key: str, allowed: Sequence[str]) -> str:
        value = self._take(key)
        if value not in allowed:
            raise self._problem(key, f"must be one of {', '.join(allowed)}, not {value!r}")
        return cast(str, value)

    def count(self, key: str) -> int:
        value = self._take(key)
        if not isinstance(value, str) or not value.isdecimal() or int(value) < 1:
            raise self._problem(key, "must be a whole number above zero")
        return int(value)

    def flag(self, key: str) -> bool:
        value = self._take(key)
        if value not in (None, "true", "false"):
            raise self._problem(key, "must be true or false")
        return value == "true"

    def fact(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value:
            raise self._problem(key, "must be a text")
        return value

    def text(self, key: str, facts: Mapping[str, str]) -> str:
        return self._checked_text(key, self._take(key), facts)

    def texts(self, key: str, facts: Mapping[str, str]) -> Texts:
        """Two texts or more, so that nobody need hear the same sentence twice running."""
        value = self._take(key)
        if not isinstance(value, list) or len(value) < 2:
            raise self._problem(key, "must be a list of at least two texts")
        return tuple(self._checked_text(key, item, facts) for item in value)

    def replies(self, key: str, facts: Mapping[str, str]) -> Texts:
        """Texts that begin with a short clause: how soon speech starts depends on it."""
        texts = self.texts(key, facts)
        for text in texts:
            clause = re.split(r"[,.!?;:]", text, maxsplit=1)[0]
            if len(clause.split()) > _MOST_WORDS_IN_FIRST_CLAUSE:
                raise self._problem(
                    key,
                    f"begins with a long clause ({clause!r}): a comma or a full stop must come "
                    f"after {_MOST_WORDS_IN_FIRST_CLAUSE} words at most",
                )
        return texts

    def phrases(self, key: str) -> tuple[Phrase, ...]:
        value = self._take(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise self._problem(key, "must be a list of phrases")
        try:
            return tuple(Phrase(item) for item in value)
        except ValueError as error:
            raise self._problem(key, str(error)) from error

    def _take(self, key: str) -> object:
        return self._content.pop(key, None)

    def _checked_text(self, key: str, value: object, facts: Mapping[str, str]) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._problem(key, "must be text")
        if figure := _FIGURE.search(value):
            raise self._problem(
                key, f"has the figure {figure[0]!r}: write it under facts and name it in braces"
            )
        return fill(value.strip(), facts)

    def _problem(self, key: str, what: str) -> ScriptError:
        return ScriptError(f"{self._place}.{key}: {what}".lstrip("."))
