"""What a listener has heard, in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicelive_client.events import (
    AgentAudio,
    AgentAudioEnd,
    ClearPlayback,
    Event,
    HoldPlayback,
    Played,
    Reconnecting,
    ResumePlayback,
)
from voicelive_client.playout import BYTES_PER_SECOND, PlayoutClock


def speech(seconds: float, response_id: str = "r1") -> AgentAudio:
    return AgentAudio(bytes(round(seconds * BYTES_PER_SECOND / 2) * 2), response_id)


def test_a_response_is_over_when_its_last_sample_was_played() -> None:
    listener = PlayoutClock()
    assert listener.receive(speech(1.0), now=10.0) == []
    assert listener.next_due() is None, "more of it may come"
    assert listener.receive(AgentAudioEnd("r1"), now=10.2) == []
    assert listener.heard_ms("r1") == 200
    assert listener.next_due() == pytest.approx(11.0)
    assert listener.tick(10.9) == []
    assert listener.tick(listener.next_due() or 0) == [Played("r1", 1000, complete=True)]
    assert not listener.playing
    assert listener.next_due() is None


def test_an_end_that_comes_after_the_last_sample_was_played_tells_at_once() -> None:
    listener = PlayoutClock()
    listener.receive(speech(0.5), now=0.0)
    assert listener.tick(2.0) == []
    assert listener.receive(AgentAudioEnd("r1"), now=2.0) == [Played("r1", 500, complete=True)]


def test_the_time_without_audio_is_not_counted_as_heard() -> None:
    listener = PlayoutClock()
    listener.receive(speech(0.1), now=0.0)
    listener.receive(speech(0.1), now=5.0)
    listener.tick(5.05)
    assert listener.heard_ms("r1") == 150


def test_clearing_tells_what_was_heard_and_drops_the_rest() -> None:
    listener = PlayoutClock()
    listener.receive(speech(3.0), now=0.0)
    assert listener.receive(ClearPlayback("r1"), now=1.25) == [Played("r1", 1250, complete=False)]
    assert not listener.playing
    assert listener.receive(speech(1.0), now=1.3) == [], "late audio of a cleared response is dropped"
    assert not listener.playing


def test_clearing_a_response_that_is_over_tells_its_length_again() -> None:
    listener = PlayoutClock()
    listener.receive(speech(0.5), now=0.0)
    listener.receive(AgentAudioEnd("r1"), now=0.1)
    assert listener.receive(ClearPlayback("r1"), now=3.0) == [
        Played("r1", 500, complete=True),
        Played("r1", 500, complete=False),
    ]


def test_clearing_a_response_that_was_never_heard_tells_so() -> None:
    assert PlayoutClock().receive(ClearPlayback("r9"), now=1.0) == [Played("r9", 0, complete=False)]


def test_responses_play_one_after_the_other() -> None:
    listener = PlayoutClock()
    listener.receive(speech(1.0, "r1"), now=0.0)
    listener.receive(AgentAudioEnd("r1"), now=0.0)
    listener.receive(speech(1.0, "r2"), now=0.0)
    listener.receive(AgentAudioEnd("r2"), now=0.0)
    listener.tick(0.5)
    assert (listener.heard_ms("r1"), listener.heard_ms("r2")) == (500, 0)
    assert listener.tick(1.5) == [Played("r1", 1000, complete=True)]
    assert listener.heard_ms("r2") == 500
    assert listener.tick(9.0) == [Played("r2", 1000, complete=True)]


def test_a_response_without_an_end_is_over_when_the_next_one_plays() -> None:
    listener = PlayoutClock()
    listener.receive(speech(1.0, "r1"), now=0.0)
    listener.receive(speech(1.0, "r2"), now=0.2)
    assert listener.tick(1.1) == [Played("r1", 1000, complete=True)]


def test_nothing_is_heard_while_playback_is_held() -> None:
    listener = PlayoutClock()
    listener.receive(speech(2.0), now=0.0)
    listener.receive(AgentAudioEnd("r1"), now=0.0)
    listener.receive(HoldPlayback("r1"), now=0.5)
    assert listener.next_due() is None
    listener.receive(ResumePlayback("r1"), now=4.5)
    assert listener.heard_ms("r1") == 500
    assert listener.next_due() == pytest.approx(6.0)


def test_a_held_response_that_is_cleared_does_not_hold_the_next() -> None:
    listener = PlayoutClock()
    listener.receive(speech(2.0), now=0.0)
    listener.receive(HoldPlayback("r1"), now=0.5)
    listener.receive(ClearPlayback("r1"), now=1.0)
    listener.receive(speech(1.0, "r2"), now=1.0)
    listener.tick(1.5)
    assert listener.heard_ms("r2") == 500


def test_what_was_not_played_when_the_connection_broke_plays_when_it_comes_again() -> None:
    listener = PlayoutClock()
    listener.receive(speech(2.0), now=0.0)
    listener.receive(AgentAudioEnd("r1"), now=0.0)
    listener.receive(HoldPlayback("r1"), now=0.5)
    assert listener.receive(Reconnecting(), now=1.0) == []
    assert not listener.playing
    assert listener.next_due() is None
    listener.receive(speech(1.5), now=4.0)
    listener.receive(AgentAudioEnd("r1"), now=4.0)
    assert listener.tick(listener.next_due() or 0) == [Played("r1", 2000, complete=True)]


EVENTS = st.one_of(
    st.just(Reconnecting()),
    st.builds(speech, st.floats(0.001, 0.7), st.sampled_from(["r1", "r2", "r3"])),
    st.sampled_from(
        [
            event(rid)
            for event in (AgentAudioEnd, ClearPlayback, HoldPlayback, ResumePlayback)
            for rid in ("r1", "r2")
        ]
    ),
)


@given(st.lists(st.tuples(st.floats(0, 1), EVENTS), max_size=25))
def test_no_more_is_heard_than_has_arrived_or_had_time_to_play(events: list[tuple[float, Event]]) -> None:
    listener = PlayoutClock()
    now = 0.0
    arrived: dict[str, float] = {}
    for pause, event in events:
        now += pause
        for played in listener.receive(event, now):
            assert played.played_ms <= round(arrived.get(played.response_id, 0) * 1000) + 1
        if isinstance(event, AgentAudio):
            arrived[event.response_id] = arrived.get(event.response_id, 0) + len(event.pcm) / BYTES_PER_SECOND
    assert sum(listener.heard_ms(rid) for rid in arrived) <= now * 1000 + len(arrived)
    while (due := listener.next_due()) is not None:
        assert listener.tick(due), "what is due is told when it is due"
