"""What the documents say is what the code does."""

from docs.diagrams import DOCUMENT, with_diagrams


def test_the_state_diagrams_are_those_of_the_tables() -> None:
    document = DOCUMENT.read_text()
    assert with_diagrams(document) == document
