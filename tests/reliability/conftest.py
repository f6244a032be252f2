"""Assertions of the modules beside the tests are explained, too."""

import pytest

pytest.register_assert_rewrite(
    "tests.reliability.accounting", "tests.reliability.faults", "tests.reliability.scene"
)
