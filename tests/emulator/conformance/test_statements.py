"""No statement without a test, no test without a statement, and the document shows the result of each."""

import re
from pathlib import Path

from tests.emulator.conformance.statements import EMULATOR_ONLY, STATEMENTS
from tests.emulator.conformance.table import BEGIN, DOCUMENT, END, table

MINIMAL, FULL = 16, 20


def test_the_statements_are_all_there() -> None:
    assert list(STATEMENTS) == [
        *(f"m{number}" for number in range(1, MINIMAL + 1)),
        *(f"f{number}" for number in range(1, FULL + 1)),
    ]
    assert set(STATEMENTS) >= EMULATOR_ONLY


def test_each_has_one_test() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert sorted(re.findall(r"^async def test_([mf]\d+)_", sources, re.MULTILINE)) == sorted(STATEMENTS)


def test_the_document_shows_that_the_emulator_passes_all() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    shown = document[document.index(BEGIN) : document.index(END)]
    expected = table({(statement, "emulator"): True for statement in STATEMENTS})
    without_azure = [line.rsplit("|", 2)[0] for line in expected.splitlines()]
    assert [line.rsplit("|", 2)[0] for line in shown.splitlines() if line.startswith("|")] == without_azure
