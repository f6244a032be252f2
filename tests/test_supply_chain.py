"""What is installed is what the locks say: pinned, with hashes, and above every version with a known hole."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.processes import PROJECT

LOCKS = sorted([*(PROJECT / "locks").glob("*.lock"), PROJECT / "voicelive_emulator" / "models.lock"])
ANY = SpecifierSet()
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?P<rest>(?:.*\\\n)*.*)$", re.MULTILINE)


def pins(lock: Path) -> list[tuple[str, str, str]]:
    """Name, version and the rest of each requirement."""
    text = lock.read_text(encoding="utf-8")
    return [(canonicalize_name(m["name"]), m["version"], m["rest"]) for m in PIN.finditer(text)]


def floors() -> list[Requirement]:
    lines = (PROJECT / "locks" / "floors.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]


def below_floor(locked: list[tuple[str, str, str]]) -> list[str]:
    """What is pinned to a version with a known hole."""
    lowest: dict[str, SpecifierSet] = {canonicalize_name(floor.name): floor.specifier for floor in floors()}
    return [f"{name} {version}" for name, version, _ in locked if version not in lowest.get(name, ANY)]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
class TestLock:
    def test_nothing_is_below_its_floor(self, lock: Path) -> None:
        assert pins(lock)
        assert not below_floor(pins(lock))

    def test_every_requirement_is_pinned_and_has_hashes(self, lock: Path) -> None:
        text = lock.read_text(encoding="utf-8")
        requirements = [line for line in text.splitlines() if line and line[0] not in " #"]
        assert len(requirements) == len(pins(lock))
        for name, _, rest in pins(lock):
            assert "--hash=sha256:" in rest, name

    def test_no_index_is_named(self, lock: Path) -> None:
        text = lock.read_text(encoding="utf-8")
        assert "index-url" not in text
        assert "://" not in text


def test_every_floor_is_of_something_that_we_install() -> None:
    installed = {name for lock in LOCKS for name, _, _ in pins(lock)}
    assert {canonicalize_name(floor.name) for floor in floors()} <= installed


def test_a_version_with_a_hole_is_noticed() -> None:
    assert below_floor([("starlette", "1.0.0", "")]) == ["starlette 1.0.0"]
