"""The value that a `keep` step returns for stewards: how good a model is in one hospital, which stays there."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

LEAST: Final = 10  # people with the outcome, and without it (followed beyond the horizon): of fewer no measures


class OwnMeasure(NamedTuple):
    """A measure, such as `AUC`, with its 95 % limits, and what it is in all hospitals; None for what there is not."""

    metric: str
    estimate: float | None
    low: float | None
    high: float | None
    everywhere: float | None


class OwnPart(NamedTuple):
    """Everybody of one hospital, or its people of a level. Fewer than `LEAST` with the outcome or without have none."""

    level: str  # "" for everybody
    people: int
    events: int  # by the horizon, where there is one
    measures: tuple[OwnMeasure, ...]


class OwnMeasures(NamedTuple):
    """The evaluation in one hospital. It is no `Sum` and stays there: no other hospital and no coordinator sees it."""

    about: str  # the outcome and the risk
    horizon: float | None
    unit: str  # of the horizon, such as `days`
    parted: str  # the column whose levels are told; "" where none is
    parts: tuple[OwnPart, ...]

    def plain(self) -> dict[str, Any]:
        """As plain data, for the hospital's own file."""
        return self._asdict()

    @classmethod
    def of(cls, plain: dict[str, Any]) -> OwnMeasures:
        """From what `plain` gave, as it is read from JSON."""
        parts = (
            OwnPart(level, n, events, tuple(OwnMeasure(*m) for m in made)) for level, n, events, made in plain["parts"]
        )
        return cls(**{**plain, "parts": tuple(parts)})
