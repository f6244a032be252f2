"""`remove_filler_words`: what was understood without "um" and "uh"."""

import pytest

from tests.emulator.doubles import Doubles, silence, speech
from tests.emulator.wire import Event, connected, only
from voicelive_emulator.fillers import without_fillers
from voicelive_emulator.server import Endpoints


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Um, how much is it?", "How much is it?"),
        ("Well, uh, it is, erm... too much.", "Well, it is, too much."),
        ("I would like, uh", "I would like"),
        ("Hmm. Mm-hmm, uhhh!", ""),
        ("My umbrella erred, ahead of the summer.", "My umbrella erred, ahead of the summer."),
        ("", ""),
    ],
)
def test_examples(said: str, kept: str) -> None:
    assert without_fillers(said) == kept


async def heard(emulator: Endpoints, doubles: Doubles, said: str, *, remove: bool) -> list[Event]:
    """Say something; return the events up to the caller's item, and what follows at once."""
    doubles.recognizer.text = said
    detection = {"type": "azure_semantic_vad", "remove_filler_words": remove}
    async with connected(emulator.port) as client:
        await client.send("session.update", session={"turn_detection": detection})
        await client.until("session.updated")
        await client.append(silence(300) + speech(800) + silence(800))
        return [*await client.until("conversation.item.created"), *await client.settle()]


def transcript(events: list[Event]) -> str:
    text = only(events, "conversation.item.created")[0]["item"]["content"][0]["transcript"]
    assert isinstance(text, str)
    return text


async def test_they_are_removed_where_the_session_says_so(emulator: Endpoints, doubles: Doubles) -> None:
    said = "Um, how much is it?"
    assert transcript(await heard(emulator, doubles, said, remove=False)) == said
    assert transcript(await heard(emulator, doubles, said, remove=True)) == "How much is it?"


async def test_nothing_but_fillers_is_not_answered(emulator: Endpoints, doubles: Doubles) -> None:
    events = await heard(emulator, doubles, "Uh...", remove=False)
    assert only(events, "response.created")
    events = await heard(emulator, doubles, "Uh...", remove=True)
    assert transcript(events) == ""
    assert not only(events, "response.created")
