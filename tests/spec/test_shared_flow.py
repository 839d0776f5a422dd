"""Hospitals of one process follow one flow: it goes on once for all, and never for one that was told otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from confrere.errors import ModelError, ProtocolError
from confrere.hospital.shared import Shared, alike
from confrere.rounds import Ask, Sum, Verdict


def doubled(times: list[int]) -> Any:
    """A flow of two rounds, which notes that it goes on."""
    (first,) = yield (Ask("one", "a", (1,)),)
    times.append(1)
    (second,) = yield (Ask("one", "b", (2 * float(first[0].value[0]),)),)
    times.append(2)
    return float(second[0].value[0])


def answer(value: float, **kind: Any) -> tuple[Any, ...]:
    """The answer to one ask."""
    return ((Sum(np.array([value]), **kind),),)


def test_copies_are_asked_alike_and_the_flow_goes_on_once() -> None:
    times: list[int] = []
    shared = Shared(doubled(times))
    copies = [shared.copy() for _ in range(3)]
    assert [c.send(None)[0].args for c in copies] == [(1,)] * 3  # type: ignore[arg-type]
    # how many people are behind a hospital's own weights is not the others' matter
    assert [c.send(answer(4.0, effective=e))[0].args for c, e in zip(copies, (9.0, 8.0, 7.0), strict=True)] == [
        (8.0,)
    ] * 3
    for c in copies:
        with pytest.raises(StopIteration) as end:
            c.send(answer(5.0))
        assert end.value.value == 5.0
    assert times == [1, 2]


def test_who_was_given_other_totals_is_not_led_on() -> None:
    shared = Shared(doubled([]))
    one, other, late = (shared.copy() for _ in range(3))
    for c in (one, other, late):
        next(c)
    one.send(answer(4.0))
    with pytest.raises(ProtocolError, match="not given the same totals"):
        other.send(answer(np.nextafter(4.0, 5.0)))
    with pytest.raises(StopIteration):
        one.send(answer(5.0))
    with pytest.raises(ProtocolError):  # a round behind, and the totals of then are gone
        late.send(answer(4.0))


def test_what_the_flow_raises_every_hospital_is_told() -> None:
    def failing() -> Any:
        yield (Ask("one", "a"),)
        raise ModelError("no finding")

    shared = Shared(failing())
    copies = [shared.copy() for _ in range(2)]
    for c in copies:
        next(c)
    for c in copies:
        with pytest.raises(ModelError, match="no finding"):
            c.send(answer(1.0))


def test_answers_are_compared_to_the_bit() -> None:
    verdict = Verdict(30, 3, {"cells": np.arange(4)}, (("missing", None),), 9, 11)
    assert alike((None, verdict, answer(1.0)), (None, verdict._replace(grids={"cells": np.arange(4)}), answer(1.0)))
    assert not alike(verdict, verdict._replace(grids={"cells": np.zeros(4, dtype=np.int64)}))
    assert not alike(verdict, verdict._replace(grids={}))
    assert not alike(verdict, verdict._replace(left_out=(("missing", 12),)))
    assert not alike(answer(1.0), answer(1.0, needs="histograms"))
    assert not alike(answer(1.0), (None,))
