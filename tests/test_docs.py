"""What the documents say is what the code does."""

import re
from pathlib import Path

from app.errors import CATALOGUE
from docs.diagrams import DOCUMENT, with_diagrams

PROJECT = Path(__file__).parent.parent


def test_the_state_diagrams_are_those_of_the_tables() -> None:
    document = DOCUMENT.read_text()
    assert with_diagrams(document) == document


def test_the_catalogue_of_errors_is_the_one_of_the_document() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| (\d+|-) \| (yes|no) \|",
        (PROJECT / "docs/protocol.md").read_text(),
        re.MULTILINE,
    )
    documented = {
        code: (int(close), None if http == "-" else int(http), retry == "yes")
        for code, close, http, retry in rows
    }
    assert documented == {
        code.value: (entry.close_code, entry.http_status, entry.retryable)
        for code, entry in CATALOGUE.items()
    }


def test_the_tests_of_the_threat_model_exist() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", (PROJECT / "docs/threat-model.md").read_text()))
    assert named
    assert not [path for path in named if not (PROJECT / path).exists()]
