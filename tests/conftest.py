"""What all tests share: this folder is importable (`federate`, `laws`, `attacks`), and what was skipped is said."""

from __future__ import annotations

from typing import Any

import pytest

from federate import SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the larger public data sets are skipped where these are not."""
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason=f"needs the larger public data sets, which are not in {SHARED}"))


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say where the larger data sets were looked for, if tests went without them."""
    if not SHARED.is_dir():
        terminalreporter.write_line(
            f"tests of the larger public data sets were skipped: set CONFRERE_DATA (no {SHARED})"
        )
