"""The table of what attacks found, printed after the tests (also under pytest-xdist)."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = ("study", "people", "numbers", "share, all rows", "over 0.5", "knows outcome", "over 0.5", "leverage", "AUC")


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One row per case and world."""
    found: dict[str, dict[str, str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()):
                if isinstance(key, tuple | list) and key[0] == "attack":
                    found.setdefault(key[1], {})[key[2]] = value
    if not found:
        return
    terminalreporter.section("what the coordinator's view identifies")
    for name, row in sorted(found.items()):
        terminalreporter.write_line(f"{name:<40}" + "  ".join(f"{k} {v}" for k, v in row.items()))
