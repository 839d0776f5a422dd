"""Findings on a terminal: what their numbers are called, and which of them are estimates."""

from __future__ import annotations

from typing import Any

import pytest

from confrere.analyses.finding import Finding
from confrere.console.show import number, tables, text

COEFFICIENT = {
    "term": "age", "estimate": -0.02, "p_value": 0.008, "hazard_ratio": 0.984, "hr_low": 0.973, "hr_high": 0.996,
}  # fmt: skip


def shown(facts: dict[str, Any], **records: list[dict[str, Any]]) -> str:
    finding = Finding(method="any", n=2982, hospitals=3, tables=records, facts=facts)
    return text(tables("mine", finding, "days"))


@pytest.mark.parametrize("model", ["fine-gray", "cause-specific"])
def test_ratios_of_fine_and_gray_are_of_the_subdistribution(model: str) -> None:
    said = shown({"model": model}, coefficients=[COEFFICIENT])
    assert "hazard ratio" in said
    assert ("subdistribution hazard ratio" in said) == (model == "fine-gray")


@pytest.mark.parametrize(("grid", "estimated"), [("ladder of 9 cells", True), ("exact times, to 1 days", False)])
def test_people_at_risk_between_edges_of_cells_are_estimates(grid: str, estimated: bool) -> None:
    said = shown({"grid": grid}, survival=[{"group": "a", "time": 365.0, "at_risk": 428, "estimate": 0.8}])
    assert ("≈ 428" in said) == ("Numbers at risk between the edges of cells are estimated." in said) == estimated


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2982, "2,982"), (2982.4, "2,982"), (999.94, "999.9"), (999.97, "1,000"), (0.98412, "0.9841"), (None, "–")],
)
def test_thousands_are_set_apart(value: float | None, expected: str) -> None:
    assert number(value) == expected
