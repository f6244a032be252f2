"""Where a scripted talk stands, and what is said next.

Pure: one `Dialogue` is driven through a conversation, `answer` and `hear` in turn.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voicelive_emulator.function_calls import Known, value_known
from voicelive_emulator.script import Heard, Intent, Outcome, Script, Step, Texts, fill, names_in
from voicelive_emulator.understanding import Phrase, Utterance, digits_in, name_in, number_in, strongest

# A longer speech is no answer to a yes-or-no question, unless its first words are one.
_LONGEST_ANSWER_WORDS = 12
_FIRST_WORDS = 3
_RAMBLING_WORDS = 18


@dataclass(frozen=True, slots=True)
class Understood:
    """What an utterance means to a script, wherever the talk stands."""

    utterance: Utterance
    intents: Sequence[Intent]  # the likeliest first
    agrees: bool | None  # yes, no, or neither


def understand(script: Script, text: str) -> Understood:
    """Looks for everything in `text` that the script knows."""
    utterance = Utterance(text)
    weights = {intent.name: strongest(intent.phrases, utterance) for intent in script.intents}
    found = [intent for intent in script.intents if weights[intent.name]]
    return Understood(
        utterance=utterance,
        intents=sorted(found, key=lambda intent: weights[intent.name], reverse=True),
        agrees=_agrees(script, utterance),
    )


class Dialogue:
    """One talk along a script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._step = next(iter(script.steps.values()))
        self._answers = {step.name: step.otherwise for step in script.steps.values() if step.then}
        self._times_used: Counter[Texts] = Counter()
        self._greeted = False
        self._introduced = False  # what `enter` says was heard
        self._asked = False  # the question was heard
        self._misunderstandings = 0
        self._question = ""
        self._heard = ""  # the last reply, as far as it was heard
        self._content = ""  # the last reply, without "I said this"
        self._given: set[str] = set()  # steps whose question was really answered
        self._digits = ""  # the beginning of a number that is told in parts
        self.tool: Sequence[Phrase] = ()
        """What a function is about that belongs to the last answer; empty: none."""
        self.tool_once = False
        """Whether a call that was made before is enough."""
        self.informs = False
        """Whether the last answer only informs, so that what a function gave may take its place."""
        self.looks_up = False
        """Whether the last answer leaves the question to a function."""

    def open(self) -> str:
        """The first reply of a call in which the caller has said nothing."""
        return self._reply(self._script.opener)

    def go_on(self) -> str:
        """A reply although the caller has said nothing since the last one."""
        return self._reply(self._script.nudge if self._step.ask else self._script.closing)

    def answer(self, caller: Understood, *, can_look_up: bool = False) -> str:
        """The reply to what the caller said; with `can_look_up` a function knows what the script does not."""
        self.tool, self.tool_once, self.informs, self.looks_up = (), False, False, False
        if not caller.utterance.words:
            return self._reply(self._script.unheard)
        intent = self._intent(caller, "first") or self._intent(caller, "normal")
        gives_way = intent is not None and intent.name in self._step.answer_before
        if intent and not gives_way and not self._left_to_a_function(intent, can_look_up):
            return self._answer_intent(intent)
        if self._asked and (intent is None or gives_way):
            heard_before = self._digits
            if outcome := self._outcome(caller):
                return self._follow(outcome)
            if self._digits not in ("", heard_before):
                return self._choose(self._script.partial)
        if can_look_up:
            self.informs = self.looks_up = True
            return self._reply(self._script.unclear)
        if intent:
            return self._answer_intent(intent)
        if not self._greeted:
            return self.open()
        if intent := self._intent(caller, "last"):
            return self._answer_intent(intent)
        return self._answer_nonsense(caller.utterance)

    def tell(self, output: str) -> str:
        """The reply that says what a function gave, in place of the last one."""
        return self._reply(self._script.looked_up, {"output": output})

    def known(self) -> Known:
        """What can be told to a function: the facts, and what the caller has answered."""
        return [
            (phrases, fill(value, self._answers))
            for value, phrases in self._script.arguments.items()
            if self._given.issuperset(names_in(value))
        ]

    def will_ask_for(self, parameters: Mapping[str, Any]) -> bool:
        """Whether the open question is for something that these parameters require."""
        if self.tool_once or self._step.then is None or self._step.name in self._given:
            return False
        asked = [(p, v) for v, p in self._script.arguments.items() if self._step.name in names_in(v)]
        return any(value_known(name, asked) for name in parameters.get("required", ()))

    def hear(self, reply: str, heard: Sequence[str]) -> None:
        """Notes what the caller heard after `reply` was worked out: it, its beginning, or other texts."""
        first = heard[0].strip()
        cut_short = len(first) < len(reply) and reply.startswith(first.rstrip(" .…"))
        reached = len(first) if cut_short else len(reply)
        question_at = reply.rfind(self._question)
        self._greeted = True
        self._introduced = self._introduced or reached >= question_at
        self._asked = self._asked or reached >= question_at + len(self._question) // 2
        self._heard = heard[-1]
        if not cut_short and first != reply:
            self._content = first

    def _answer_intent(self, intent: Intent) -> str:
        if intent.repeat:
            said = self._choose(intent.say)
            return f"{said} {self._content}" if self._content else self.open()
        target = self._script.steps[intent.go] if intent.go else self._step
        if self._step.final and target.take != "nothing":
            return self._reply(self._script.closing)
        self.tool, self.informs = intent.tool, intent.go is None
        if not self._step.final:
            self._enter(target)
        return self._reply(intent.say)

    def _left_to_a_function(self, intent: Intent, can_look_up: bool) -> bool:
        return can_look_up and intent.heard == "normal" and not intent.tool

    def _answer_nonsense(self, utterance: Utterance) -> str:
        if not self._step.ask:
            return self._reply(self._script.closing)
        self._misunderstandings += 1
        if self._step.give_up and self._misunderstandings > self._step.patience:
            return self._follow(self._step.give_up)
        rambling = len(utterance.words) >= _RAMBLING_WORDS
        return self._reply(self._script.rambling if rambling else self._script.unclear)

    def _intent(self, caller: Understood, heard: Heard) -> Intent | None:
        return next((intent for intent in caller.intents if intent.heard == heard), None)

    def _outcome(self, caller: Understood) -> Outcome | None:
        """Where the utterance leads when it answers the open question."""
        if self._step.take == "yes_no":
            return None if caller.agrees is None else self._step.yes if caller.agrees else self._step.no
        answer = self._slot_value(caller.utterance)
        if answer is None:
            return (self._step.no or self._step.give_up) if caller.agrees is False else None
        self._answers[self._step.name] = answer
        self._given.add(self._step.name)
        return self._step.then

    def _slot_value(self, utterance: Utterance) -> str | None:
        """The answer to the open question; a number of known length may come in parts."""
        value = _slot_value(self._step, utterance)
        if value is not None or self._step.take != "digits":
            return value
        digits = self._digits + digits_in(utterance)
        self._digits = digits if len(digits) < self._step.length else ""
        return " ".join(digits) if len(digits) == self._step.length else None

    def _follow(self, outcome: Outcome) -> str:
        self.tool, self.tool_once = outcome.tool, True
        self._enter(self._script.steps[outcome.go])
        return self._reply(outcome.say)

    def _enter(self, step: Step) -> None:
        if step is not self._step:
            self._step = step
            self._introduced = self._asked = False
            self._misunderstandings = 0
            self._digits = ""

    def _reply(self, texts: Texts, values: Mapping[str, str] | None = None) -> str:
        """One of `texts` and the open question, with its introduction while that was not heard."""
        parts = [fill(self._choose(texts), values or {})]
        if self._step.enter and not self._introduced:
            parts.append(fill(self._step.enter, self._answers))
        self._question = self._choose(self._step.ask) if self._step.ask else ""
        self._content = " ".join([*parts, self._question]).strip()
        return self._content

    def _choose(self, texts: Texts) -> str:
        """The next of `texts` in turn that repeats no sentence of the last reply, if there is one."""
        turn = self._times_used[texts]
        self._times_used[texts] += 1
        candidates = [fill(texts[(turn + i) % len(texts)], self._answers) for i in range(len(texts))]
        just_said = _sentences(self._heard)
        return next((text for text in candidates if not _sentences(text) & just_said), candidates[0])


def _agrees(script: Script, utterance: Utterance) -> bool | None:
    """Whether the caller says yes (True) or no (False); None when neither is clear."""
    if len(utterance.words) > _LONGEST_ANSWER_WORDS:
        utterance = Utterance(" ".join(utterance.words[:_FIRST_WORDS]))
    yes, no = strongest(script.yes, utterance), strongest(script.no, utterance)
    return None if yes == no else yes > no


def _slot_value(step: Step, utterance: Utterance) -> str | None:
    """The answer to a question that takes a value, as it is spoken in replies; None when there is none."""
    weights = {option: strongest(phrases, utterance) for option, phrases in step.options.items()}
    if any(weights.values()):
        return max(weights, key=weights.__getitem__)
    match step.take:
        case "number":
            number = number_in(utterance)
            return None if number is None else str(number)
        case "digits":
            digits = digits_in(utterance)
            return " ".join(digits) if len(digits) == step.length else None
        case "name":
            return name_in(utterance)
        case _:
            return None


def _sentences(text: str) -> set[str]:
    return set(re.split(r"(?<=[.!?]) ", text.strip()))
