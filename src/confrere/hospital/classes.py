"""Disclosure classes: what a steward allows in so many words, and how many people some of them ask for.

How many people a hospital needs to take part is one number for the whole study. A hospital with enough for one of its
analyses and too few for another would be the difference of the two, alone.
"""

from __future__ import annotations

from collections.abc import Iterable

CLASSES = {
    "fine_times": "exact event times of the network leave: who knows a patient's date of death may recognise it",
    "small_cells": "counts of fewer than k people leave: a rare patient may be recognised in a table",
    "histograms": "sums over fine cells, also of time, leave as a tree grows: a person alone in a cell may be read off",
    "model_weights": "the weights of a network leave each round: parts of training records can be rebuilt from them",
    "per_hospital": "a result of this hospital alone leaves, after its steward has seen it",
}

CROWDS = {"model_weights": 4}  # times k people of its own that a hospital needs under a study that allows a class


def enough(k: int, allow: Iterable[str]) -> int:
    """People of its own with whom a hospital takes part in the analyses of a study that allows these classes."""
    return k * max((CROWDS.get(word, 1) for word in allow), default=1)
