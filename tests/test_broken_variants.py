"""The property test can fail: each deliberately broken variant of the conversation breaks one of its rules.

The variants are listed in `tests/README.md`.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from app.conversation import Conversation
from app.messages import ClearPlayback, ResumePlayback, Status
from app.playout import Playout
from app.replies import Replies
from app.turns import Cleared, Draining, Effect, Generating, Reply, Send
from app.voicelive import events as service
from tests.test_conversation import AdversarialCall

Patch = Callable[[pytest.MonkeyPatch], None]


def old_audio_survives_the_clearing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Playout, "clear", lambda self, now: None)


def the_client_is_not_told_to_clear(patch: pytest.MonkeyPatch) -> None:
    original = Replies.cut_off

    def cut_off(self: Replies, now: float, **how: bool) -> list[Effect]:
        effects = original(self, now, **how)
        return [e for e in effects if not (isinstance(e, Send) and isinstance(e.message, ClearPlayback))]

    patch.setattr(Replies, "cut_off", cut_off)


def late_audio_is_played(patch: pytest.MonkeyPatch) -> None:
    original = Replies.audio

    def audio(self: Replies, event: service.AudioDelta, now: float) -> list[Effect]:
        reply = self._replies.get(event.response_id)
        if reply is not None and isinstance(reply.state, Cleared):
            self._playout.add_audio(event.response_id, event.pcm)
        return original(self, event, now)

    patch.setattr(Replies, "audio", audio)


def only_what_is_generated_is_interrupted(patch: pytest.MonkeyPatch) -> None:
    original = Replies.uncleared

    def uncleared(self: Replies) -> list[Reply]:
        return [reply for reply in original(self) if isinstance(reply.state, Generating)]

    patch.setattr(Replies, "uncleared", uncleared)


def a_cancel_is_repeated(patch: pytest.MonkeyPatch) -> None:
    original = Replies.cut_off

    def cut_off(self: Replies, now: float, **how: bool) -> list[Effect]:
        effects = original(self, now, **how)
        return effects + [e for e in effects if not isinstance(e, Send)]

    patch.setattr(Replies, "cut_off", cut_off)


def the_client_is_believed_whatever_it_reports(patch: pytest.MonkeyPatch) -> None:
    original = Replies.reported

    def reported(self: Replies, response_id: str, played_ms: int, now: float) -> list[Effect]:
        reply = self._replies.get(response_id)
        if reply is not None and isinstance(reply.state, Cleared):
            return self._heard(reply, played_ms, "heard known", now)
        return original(self, response_id, played_ms, now)

    patch.setattr(Replies, "reported", reported)


def an_interrupted_response_ends_twice(patch: pytest.MonkeyPatch) -> None:
    original = Replies._heard

    def heard(self: Replies, *arguments: Any) -> list[Effect]:
        effects = original(self, *arguments)
        return effects + [e for e in effects if isinstance(e, Send)]

    patch.setattr(Replies, "_heard", heard)


def an_interrupted_response_never_ends(patch: pytest.MonkeyPatch) -> None:
    original = Replies._heard

    def heard(self: Replies, *arguments: Any) -> list[Effect]:
        return [e for e in original(self, *arguments) if not isinstance(e, Send)]

    patch.setattr(Replies, "_heard", heard)


def silence_is_waited_out_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Conversation, "_silent_at", lambda self, committed: float("inf"))


def a_response_without_end_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Replies, "_stalled_at", lambda self, reply: float("inf"))


def a_held_agent_talks_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Playout, "hold", lambda self, reason, now: None)


def a_cleared_agent_resumes(patch: pytest.MonkeyPatch) -> None:
    original = Conversation._interrupt

    def interrupt(self: Conversation, now: float, **how: bool) -> list[Effect]:
        effects = original(self, now, **how)
        cleared = [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, ClearPlayback)]
        return [*effects, *(Send(ResumePlayback(message.response_id)) for message in cleared)]

    patch.setattr(Conversation, "_interrupt", interrupt)


def responses_are_mixed(patch: pytest.MonkeyPatch) -> None:
    original = Playout.add_audio

    def add_audio(self: Playout, response_id: str, pcm: bytes) -> None:
        original(self, response_id, pcm)
        frames = [held for held in self._queue if isinstance(held[1], bytes)]
        others = [held for held in self._queue if not isinstance(held[1], bytes)]
        self._queue.clear()
        self._queue.extend([*others, *frames])

    patch.setattr(Playout, "add_audio", add_audio)


def a_status_is_told_at_every_event(patch: pytest.MonkeyPatch) -> None:
    original = Conversation._with_status

    def with_status(self: Conversation, effects: list[Effect]) -> list[Effect]:
        told = original(self, effects)
        return [*told, Send(Status(self.status))] if self.status == "ready" else told

    patch.setattr(Conversation, "_with_status", with_status)


def a_response_counts_as_played_when_it_is_generated(patch: pytest.MonkeyPatch) -> None:
    original = Replies.tick

    def tick(self: Replies, now: float) -> list[Effect]:
        draining = [reply for reply in self._replies.values() if isinstance(reply.state, Draining)]
        return [e for reply in draining for e in self._played(reply, now)] + original(self, now)

    patch.setattr(Replies, "tick", tick)


VARIANTS: list[Patch] = [
    old_audio_survives_the_clearing,
    the_client_is_not_told_to_clear,
    late_audio_is_played,
    only_what_is_generated_is_interrupted,
    a_cancel_is_repeated,
    the_client_is_believed_whatever_it_reports,
    an_interrupted_response_ends_twice,
    an_interrupted_response_never_ends,
    silence_is_waited_out_for_ever,
    a_response_without_end_is_waited_for,
    a_held_agent_talks_on,
    a_cleared_agent_resumes,
    responses_are_mixed,
    a_status_is_told_at_every_event,
    a_response_counts_as_played_when_it_is_generated,
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_a_broken_variant_is_caught(variant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    variant(monkeypatch)
    # That nothing a peer sends may raise is a rule of the conversation too.
    with pytest.raises((AssertionError, KeyError, RuntimeError)):
        run_state_machine_as_test(
            AdversarialCall,
            settings=settings(
                max_examples=500,
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
