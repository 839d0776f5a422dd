"""Disclosure classes: what a steward allows in so many words, and how many people some of them ask for."""

CLASSES = {
    "fine_times": "exact event times of the network leave: who knows a patient's date of death may recognise it",
    "small_cells": "counts of fewer than k people leave: a rare patient may be recognised in a table",
    "histograms": "sums over fine cells leave at every split of a tree: a person alone in a cell may be read off",
    "model_weights": "the weights of a network leave each round: parts of training records can be rebuilt from them",
    "per_hospital": "a result of this hospital alone leaves, after its steward has seen it",
}

CROWDS = {"model_weights": 4}  # times k people of its own that a hospital needs to take part in what is of a class
