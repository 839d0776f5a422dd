"""What a classifier says of one picture of the bank: the kinds that it may be, or that the model abstains.

    [pictures]
    model = "models/classifier.json"    # of a result, learned with conformal; its parameters beside it

The model is a file of the hospital, and nothing leaves. It reads the picture by the encoder `skin`, alone, where people
of training may have several: learn it with `one_row`, and what is promised is promised of one picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from confrere.errors import StudyError


class Reading(NamedTuple):
    """The set of kinds of a picture, the likeliest first.

    share    of new people, as those held out were, whose kind is in their set, or more
    within   whether that is so in each kind, of two; of more it is on average over the kinds
    single   whether that is said of one picture; else of people with all of theirs
    model    SHA-256 of the model
    """

    kinds: tuple[str, ...]
    share: float
    within: bool
    single: bool
    model: str

    @property
    def abstains(self) -> bool:
        """Whether there is no answer: no kind, or several."""
        return len(self.kinds) != 1

    @property
    def digits(self) -> int:
        """Decimals of the share in per cent."""
        return int(round(100 * self.share, 6) % 1 != 0)


def reading(model: Path, png: bytes) -> Reading:
    """What the model in a file says of a picture. StudyError where it reads no pictures, or has no sets of classes."""
    from confrere.analyses.networks.model import Net
    from confrere.console.predict import read, sets_of
    from confrere.data.bags import recipe_of
    from confrere.images.bank_pixels import read as pixels
    from confrere.images.skin import SKIN

    net = read(model)
    sets = sets_of(model)
    by_skin = isinstance(net, Net) and net.bags and net.bag_recipe == recipe_of(SKIN.about())
    if not isinstance(net, Net) or not by_skin or net.names or net.sizes.bag != SKIN.size:
        raise StudyError(f"{model.name} reads no pictures by the encoder skin alone; take another model")
    if sets is None:
        raise StudyError(f"{model.name} has no sets of classes; learn it with conformal, such as conformal = 0.1")
    rows = SKIN.rows(pixels(png)[None])
    margin = sets.margins(net.objective, net.score(np.empty((1, 0)), lambda i: rows))
    inside = sets.sets(margin)[0]
    kinds = tuple(sets.levels[j] for j in np.argsort(-margin[0], kind="stable") if inside[j])
    return Reading(kinds, 1 - sets.alpha, len(sets.levels) == 2, sets.one_row, net.sha256)
