"""The same pictures give the same bags: a picture's name is drawn at random, and its rows do not go by it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("PIL.Image")

from confrere.images.bank import Bank
from confrere.images.skin import SKIN
from images.lesions import picture, png


def features(folder: Path, order: list[int]) -> bytes:
    """Those of three people with four pictures each, which came into the bank in this order."""
    folder.mkdir()
    bank = Bank(folder, lambda event, **facts: None)
    for i in order:
        image = bank.add(png(picture(i)), f"p{i % 3}", "Dr Martin", label="nevus").image
        bank.consent(image, "training", "Dr Martin")
    bank.bagged.extract(folder / "images.bags", SKIN)
    return (folder / "images.bags" / "features.npy").read_bytes()


def test_bags_do_not_depend_on_the_names_of_pictures_or_on_which_came_first(tmp_path: Path) -> None:
    numbers = list(range(12))
    made = {features(tmp_path / str(i), order) for i, order in enumerate((numbers, numbers, numbers[::-1]))}
    assert len(made) == 1
