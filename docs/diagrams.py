"""Draws the diagrams of `conversation.md` from the tables in `app/turns.py`: `python -m docs.diagrams`."""

from collections.abc import Mapping
from pathlib import Path

from app.turns import INPUT_TRANSITIONS, REPLY_TRANSITIONS

DOCUMENT = Path(__file__).parent / "conversation.md"


def diagram(table: Mapping[type, Mapping[str, type]]) -> str:
    """One table as a Mermaid state diagram; the first state of the table is the initial one."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(table)).__name__}"]
    for state, row in table.items():
        if not row:
            lines.append(f"    {state.__name__} --> [*]")
        lines += [f"    {state.__name__} --> {to.__name__}: {trigger}" for trigger, to in row.items()]
    return "\n".join([*lines, "```"])


def with_diagrams(document: str) -> str:
    """The document with both diagrams drawn anew between their marks."""
    for name, table in (("input", INPUT_TRANSITIONS), ("response", REPLY_TRANSITIONS)):
        begin, end = f"<!-- {name}: drawn from the table -->\n", f"\n<!-- end of {name} -->"
        before, rest = document.split(begin)
        _, after = rest.split(end)
        document = before + begin + diagram(table) + end + after
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(with_diagrams(DOCUMENT.read_text()))
