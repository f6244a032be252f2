"""`python -m tests.emulator.conformance.table`: judge the endpoints and write the result into the docs."""

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from tests.emulator.conformance.statements import EMULATOR_ONLY, STATEMENTS

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "emulator.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
_TEST: Final = re.compile(r"::test_([mf]\d+)_\w+\[(?:.*-)?(emulator|azure)(?:-.*)?\]")

Results = dict[tuple[str, str], bool]
"""Whether all cases of a statement passed, by statement and endpoint."""


class Outcomes:
    """Collects what pytest reports."""

    def __init__(self) -> None:
        self.results: Results = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = _TEST.search(report.nodeid)
        if found is not None and not report.skipped and (report.when == "call" or report.failed):
            key = (found[1], found[2])
            self.results[key] = self.results.get(key, True) and report.passed


def table(results: Results) -> str:
    """Return the statements with their results as Markdown."""
    lines = ["| | statement | emulator | Azure |", "|---|---|---|---|"]
    for statement, text in STATEMENTS.items():
        azure = "\u2013" if statement in EMULATOR_ONLY else _shown(results, statement, "azure")
        emulator = _shown(results, statement, "emulator")
        lines.append(f"| {statement.upper()} | {text} | {emulator} | {azure} |")
    return "\n".join(lines)


def _shown(results: Mapping[tuple[str, str], bool], statement: str, endpoint: str) -> str:
    if (statement, endpoint) not in results:
        return "not run"
    return "passes" if results[statement, endpoint] else "fails"


def main() -> int:
    """Run the tests and write the table; return pytest's exit status."""
    outcomes = Outcomes()
    folder = Path(__file__).parent
    options = ["-q", "-p", "no:cacheprovider", f"--ignore={folder / 'test_statements.py'}"]
    status = pytest.main([str(folder), *options], plugins=[outcomes])
    document = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = f"Made on {datetime.now(UTC):%Y-%m-%d} by `python -m tests.emulator.conformance.table`."
    written = f"{before}{BEGIN}\n{made}\n\n{table(outcomes.results)}\n{END}{after}"
    DOCUMENT.write_text(written, encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
