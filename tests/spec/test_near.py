"""Hospitals of one process take what they are told without reading its bytes again: the twin of links that do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere import wire
from confrere.console import local
from confrere.coordinator.federation import Near
from confrere.hospital.run import Run


def hospitals() -> Any:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(900, 3))
    y = (rng.random(900) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
    frame = pd.DataFrame({"pid": [f"p{i}" for i in range(900)], "a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y})
    return cf.local({f"h{i}": frame[i::4].reset_index(drop=True) for i in range(4)}, person="pid")


ANALYSES = [cf.Boosting("y", ("a", "b", "c"), trees=4, depth=3), cf.Logistic("y ~ a + b")]


@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda a: type(a).__name__)
def test_it_is_the_same_as_over_bytes(analysis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    near = hospitals().run(analysis, allow=["histograms"])
    monkeypatch.setattr(local, "Near", lambda answer, take: answer)
    far = hospitals().run(analysis, allow=["histograms"])
    assert repr(near.finding.tables) == repr(far.finding.tables)
    assert near.facts == far.facts
    assert near.results.left == far.results.left
    assert near.results.bytes == far.results.bytes > 0


def test_what_is_told_is_as_if_read_and_nobody_can_write_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    take = Run.take

    def watched(run: Run, asked: Any) -> tuple[int, Any]:
        size, reply = take(run, asked)
        assert size == len(wire.pack(reply))
        if asked["do"] == "round":
            seen.extend((asked, reply))
        return size, reply

    monkeypatch.setattr(Run, "take", watched)
    hospitals().run(ANALYSES[0], allow=["histograms"])
    assert len(seen) > 8
    arrays = 0
    for asked in seen:
        again = wire.unpack(wire.pack(asked))
        for one, other in zip(leaves(asked), leaves(again), strict=True):
            assert type(one) is type(other)
            if isinstance(one, np.ndarray):
                arrays += 1
                assert (one.dtype, one.shape) == (other.dtype, other.shape)
                with pytest.raises(ValueError, match="read-only"):
                    one[...] = 0
    assert arrays > 20


def leaves(value: Any) -> list[Any]:
    """What is in a value, with its tuples and dicts."""
    if isinstance(value, dict):
        return [value, *(leaf for key in sorted(value) for leaf in leaves(value[key]))]
    if isinstance(value, tuple):
        return [value, *(leaf for one in value for leaf in leaves(one))]
    return [value]


def test_what_was_read_is_known_by_where_it_stands() -> None:
    one, other = (1.0, 2.0), tuple([1.0, 2.0])
    assert one == other
    assert wire.Read(one) == wire.Read(one)
    assert hash(wire.Read(one)) == hash(wire.Read(one))
    assert wire.Read(one) != wire.Read(other)


def test_a_near_link_takes_bytes_too() -> None:
    near = Near(lambda message: message[::-1], lambda asked: (0, asked))
    assert near(b"ab") == b"ba"
