"""The pictures of other people that are most like one: nearest neighbours on what an encoder made of them.

Distances are Euclidean, on the numbers as the encoder gives them. One picture of a person counts, the nearest, and none
of the person in question: their other pictures would be nearest for the wrong reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.data.bags import Bags
from confrere.errors import DataError, StudyError
from confrere.images.bank import Bank
from confrere.images.bank_bags import images_of


class Similar(NamedTuple):
    """A picture that is like another."""

    image: str
    person: str
    label: str
    distance: float


def similar(bank: Bank, image: str, folder: Path, most: int = 10) -> tuple[Similar, ...]:
    """Of at most so many other people, the picture nearest to one, the nearest first.

    Only pictures that may be used for training now. StudyError for bags in which the picture is not.
    """
    if most < 1:
        raise StudyError(f"ask for 1 or more similar pictures, not {most}")
    bags, listed = Bags.open(folder), images_of(folder)
    may = {p.image: p for p in bank.pictures("training")}
    owner = next((p for p, theirs in listed.items() if image in theirs and image in may), None)
    if owner is None:
        raise StudyError(f"{image} is not in {folder.name}; it needs consent to training, then `images extract`")
    question = bags.of(owner)[list(listed[owner]).index(image)]
    found = []
    for person, theirs in listed.items():
        rows = [i for i, one in enumerate(theirs) if one in may]
        if person == owner or not rows:
            continue
        away = distances(question, bags.of(person)[rows])
        nearest = int(np.argmin(away))
        one = theirs[rows[nearest]]
        found.append(Similar(one, person, may[one].label, float(away[nearest])))
    return tuple(sorted(found, key=lambda s: (s.distance, s.image))[:most])


def distances(question: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """(m,) Euclidean distances of rows (m, d) from a question (d,). DataError where the sizes differ."""
    if rows.shape[1:] != question.shape:
        raise DataError(f"the question has {question.size} numbers, the bags {rows.shape[1]}; take the same encoder")
    return np.asarray(np.linalg.norm(rows.astype(np.float64) - question, axis=1))
