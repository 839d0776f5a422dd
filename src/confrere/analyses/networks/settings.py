"""Which settings of a network go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from confrere.analyses.learning.conformal import wrong as unconformal
from confrere.analyses.learning.left_out import unlike
from confrere.analyses.networks import catalogue
from confrere.analyses.networks.strategies import RATES
from confrere.errors import StudyError
from confrere.study.file import meant
from confrere.study.ground import model_of, outcome_among

if TYPE_CHECKING:
    from confrere.analyses.networks.network import Network

OBJECTIVES = ("binary", "multiclass", "squared", "poisson", "cox", "discrete")
NUMBERS = {
    "rounds": (1, 10_000), "epochs": (0, 1000), "steps": (0, 100_000), "batch": (0, 10**6),
    "learning_rate": (1e-9, 1e3),
    "server_rate": (0, 1e3), "clip": (1e-6, 1e6), "decay": (0, 1e3), "proximal": (0, 1e6), "fine_tune": (0, 1000),
    "seed": (0, 2**31), "privacy": (0, 1e6), "person_clip": (1e-9, 1e6), "sample": (1e-6, 1), "delta": (1e-15, 0.1),
    "bag_size": (0, 1_000_000),
}  # fmt: skip


def limited(of: Network) -> None:
    """StudyError for a word that is no choice, and a number beyond its limits."""
    for name, choices in (
        ("objective", ("", *OBJECTIVES)), ("strategy", tuple(RATES)), ("optimizer", ("sgd", "adam")),
        ("precision", ("double", "single")), ("privacy_unit", ("hospital", "person")),
    ):  # fmt: skip
        if getattr(of, name) not in choices:
            raise StudyError(f"{name} is {getattr(of, name)!r}; {meant(getattr(of, name), choices)}")
    for name, (low, high) in NUMBERS.items():
        if not low <= getattr(of, name) <= high:
            raise StudyError(f"{name} is {getattr(of, name)}; it must be from {low} to {high}")
    if of.holdout is not None and not 0 <= of.holdout <= 0.5:
        raise StudyError(f"holdout is {of.holdout}; it must be a share from 0 to 0.5")
    if any(b <= a for a, b in zip((0.0, *of.intervals), of.intervals, strict=False)):
        raise StudyError("intervals must be times above 0, each above the one before")


def wrong(of: Network) -> Iterator[str]:
    """Every reason why a network cannot be trained, in words for who wrote the study."""
    model = model_of(of.formula, of.ground)
    outcome, survival = model.outcome, model.outcome is not None and model.outcome.kind == "surv"
    if (outcome is None and not of.levels) or model.strata or model.offsets:
        yield f"{of.formula}: a network needs an outcome, and takes no strata() and no offset()"
    if outcome is not None and survival and (outcome.entry or outcome.causes):
        yield f"{of.outcome}: give Surv(time, event) with an event of 0 and 1, and no late entry"
    both = [of.outcome] if of.levels and of.outcome in model.columns else outcome_among(of.formula, of.ground)
    if both:
        yield f"{both[0]!r} is the outcome, and among the features; leave it out"
    if survival != (of.goal in ("cox", "discrete")) or bool(of.levels) != (of.goal == "multiclass"):
        yield f"objective {of.goal!r} does not fit the outcome {of.outcome}; leave objective out"
    if outcome is not None and not survival and outcome.causes and of.goal != "binary":
        yield f"{of.outcome} has two levels; take objective = 'binary'"
    if of.goal == "discrete" and not of.intervals:
        yield "objective 'discrete' needs intervals: their right ends, such as intervals = [365, 730, 1825]"
    if of.intervals and of.goal != "discrete":
        yield "intervals belong to Surv(time, event) in discrete time; leave them out"
    yield from unconformal(of, of.goal)
    if of.leave_out:
        yield from unlike(of.leave_out)
    if of.leave_out and (of.holdout or of.conformal or of.personal or of.fine_tune or of.privacy):
        yield "leave_out measures on the groups: leave out holdout, conformal, personal, fine_tune and privacy"
    if of.conformal and of.personal:
        yield "conformal is of the shared network, and personal layers stay in each hospital; leave one out"
    if (of.share or of.bags) and not (of.ground.person or of.ground.cohorts):
        yield "holdout and bags know people by name: name their column, [data] person = ..."
    if bool(of.bags) != bool(of.bag_size):
        yield "bags and bag_size go together: bag_size is how many numbers a row has, `size` in its about.json"
    if of.bag_recipe and not of.bags:
        yield "bag_recipe says how rows of bags were made; name the bags, or leave it out"
    if of.one_row and (not of.bags or of.leave_out or of.personal or of.fine_tune):
        yield "one_row measures on a row of each bag: name bags, and leave out leave_out, personal and fine_tune"
    if bool(of.bags) != catalogue.kind_of(of.module).bags:
        yield f"the module {of.module!r} {'reads no bags' if of.bags else 'reads bags; name them'}"
    if of.strategy == "scaffold" and (of.optimizer != "sgd" or of.privacy):
        yield "scaffold needs optimizer = 'sgd' and no noise: its control variates are gradients"
    if of.privacy and of.privacy_unit == "person" and (of.goal == "cox" or of.bags or of.batch):
        yield "privacy of a person needs losses of single people, features alone, and `sample` instead of `batch`"
