"""`confrere predict`: a hospital's own people ordered by risk, with reasons, by a model that was released.

Nothing leaves: the model is a file, and the list is written where the hospital says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from confrere.errors import StudyError, UserError
from confrere.rounds import Array, Ints

if TYPE_CHECKING:
    import pandas as pd

    from confrere.analyses.learning.forest import Forest
    from confrere.analyses.learning.terms import Terms
    from confrere.analyses.networks.model import Net
    from confrere.study.schema import Schema

MOST = 100_000  # people at a time
SHOWN = 0.005  # a reason that is printed as +0.00 is none


def predict(
    model: Annotated[Path, typer.Argument(help="A model: models/NAME.json of a result.", metavar="MODEL")],
    table: Annotated[str, typer.Option("--table", metavar="FILE", help="The people: CSV, Parquet or DuckDB.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the list goes (CSV).")],
    person: Annotated[str, typer.Option("--person", metavar="COLUMN", help="The column of person ids.")] = "person_id",
    reasons: Annotated[int, typer.Option("--reasons", metavar="N", help="Reasons for each person.")] = 3,
    level: Annotated[
        int, typer.Option("--class", metavar="N", help="Of a model of several classes, the one to order people by.")
    ] = 0,
) -> None:
    """Order a hospital's own people by a model's prediction, with the features that raise or lower it most.

    Nothing leaves this machine.
    """
    found = read(model)
    made = listed(found, table, person, reasons, level)
    try:
        made.to_csv(out, index=False)
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror}; choose another file") from None
    typer.echo(f"{len(made)} people, ordered by the prediction of model {found.sha256[:16]}: {out}")


def read(path: Path) -> Forest | Net | Terms:
    """The model in a file. StudyError where there is none."""
    from confrere.analyses.learning import terms
    from confrere.analyses.learning.forest import Forest
    from confrere.analyses.networks import model

    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain.get("format") == model.FORMAT:
            return model.Net.from_plain(plain, path.with_suffix(".safetensors").read_bytes())
        return terms.Terms.from_plain(plain) if plain.get("format") == terms.FORMAT else Forest.from_plain(plain)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        raise StudyError(
            f"{path} is no model that Confrere wrote ({error}); give models/NAME.json of a result"
        ) from None


def listed(model: Forest | Net | Terms, source: str, person: str, most: int = 3, level: int = 0) -> pd.DataFrame:
    """A row per person, the highest prediction first: `person`, `prediction` and `reasons`.

    Of a model of several classes people are ordered by the class `level`, counted from 1. Who misses a value that a
    regression or a network needs is last, without a prediction; trees take missing values.
    """
    import pandas as pd

    from confrere.analyses.learning.forest import Forest
    from confrere.analyses.networks.model import Net

    if isinstance(model, Net):
        ids, predicted, why = _by_network(model, source, person, most, level)
    elif isinstance(model, Forest):
        ids, predicted, why = _by_trees(model, source, person, most, level)
    else:
        ids, predicted, why = _by_terms(model, source, person, most, level)
    order = np.lexsort([ids.astype(str), np.where(np.isnan(predicted), np.inf, -predicted)])
    reasons = [why(order[low : low + MOST]) for low in range(0, len(order), MOST)]
    rows = {person: ids[order], "prediction": predicted[order]}
    return pd.DataFrame(rows | {"reasons": [text for part in reasons for text in part]})


Listed = tuple[Any, Array, Callable[[Ints], list[str]]]  # ids, predictions, and reasons of some places


def _by_trees(forest: Forest, source: str, person: str, most: int, level: int) -> Listed:
    """Ids, predictions and reasons by boosted trees."""
    from confrere.analyses.learning.boosting import Boosting
    from confrere.data import sources
    from confrere.study.ground import Ground

    place = _place(level, forest.classes)
    schema = schema_of(forest)
    features = tuple(dict.fromkeys(name.partition("[")[0] for name in forest.features))
    read = sources.read(source, list(features), schema, person)
    boosting = Boosting("", features, forest.objective, ground=Ground(schema))
    if boosting.terms != forest.features:
        raise StudyError(f"the model reads {', '.join(forest.features)}, which no table has; was it changed?")
    x = boosting.values(read.frame)
    shown = forest.prediction(forest.score(x)).reshape(len(read.frame), -1)[:, place]
    return read.frame[person].to_numpy(), shown, lambda at: explained(forest, [v[at] for v in x], most, level)


def _place(level: int, classes: int) -> int:
    """The column of predictions that a list is ordered by. StudyError where `level` names none, or one of one."""
    if classes > 1 and not 1 <= level <= classes:
        raise StudyError(
            f"a list is ordered by one risk; the model has {classes} classes. Name one: --class 1 to {classes}, in the "
            f"order of the outcome's levels"
        )
    if classes <= 1 and level:
        raise StudyError(f"--class {level} is of a model of several classes; this one has one prediction. Leave it out")
    return max(0, level - 1)


def _by_terms(terms: Terms, source: str, person: str, most: int, level: int) -> Listed:
    """Ids, predictions and reasons by a regression; a term's reason is against the mean of the people listed."""
    from confrere.data import sources

    _place(level, 1)
    frame = sources.read(source, list(terms.columns), terms.ground.schema, person).frame
    parts = terms.parts(frame)
    known = np.asarray(~np.isnan(parts).any(axis=1))
    apart = np.where(known[:, None], parts - (parts[known].mean(axis=0) if known.any() else 0.0), 0.0)
    shown = terms.prediction(terms.score(frame))
    return frame[person].to_numpy(), shown, lambda at: _worded(terms.names, apart[at], most)


def _by_network(net: Net, source: str, person: str, most: int, level: int) -> Listed:
    """Ids, predictions and reasons by a network; a feature's reason is what the score would lose, were it the mean of
    the people of training. Bags stand beside the table."""
    from confrere.data import bags, sources

    place = _place(level, max(1, len(net.levels)))
    frame = sources.read(source, list(net.columns), net.ground.schema, person).frame
    ids: Any = frame[person].to_numpy()
    x = net.features(frame)
    known = np.asarray(np.isfinite(x).all(axis=1))
    if net.bags:
        (found,) = bags.opened([net.bags], bags.beside(source, [net.bags])).values()
        known &= np.array([found.many(i) > 0 for i in ids], dtype=bool)

    def scored(at: Ints, values: Array) -> Array:
        return net.score(values, (lambda i: found.of(ids[at[i]])) if net.bags else None)[:, place]

    def why(at: Ints) -> list[str]:
        inside = at[known[at]]
        apart, whole = np.zeros((len(ids), x.shape[1])), scored(inside, x[inside])
        for j in range(x.shape[1]):
            changed = x[inside].copy()
            changed[:, j] = net.mean[j]
            apart[inside, j] = whole - scored(inside, changed)
        return _worded(net.names, apart[at], most)

    shown, places = np.full(len(ids), np.nan), np.flatnonzero(known)
    score = net.score(x[places], (lambda i: found.of(ids[places[i]])) if net.bags else None)
    shown[places] = net.prediction(score).reshape(len(places), -1)[:, place]
    return ids, shown, why


def schema_of(forest: Forest) -> Schema:
    """The columns with levels that a model reads: it splits `column[level]`, of every level of a column."""
    from confrere.study.schema import Column, Schema

    levels: dict[str, list[str]] = {}
    for name in forest.features:
        column, bracket, level = name.partition("[")
        if bracket:
            levels.setdefault(column, []).append(level.removesuffix("]"))
    return Schema({name: Column(name, tuple(values)) for name, values in levels.items()})


def explained(forest: Forest, columns: list[Array], most: int, level: int = 0) -> list[str]:
    """Of each person the features whose Shapley values are largest, such as `nodes +0.41; age -0.12`."""
    from confrere.analyses.learning.reasons import contributions

    values = contributions(forest, columns)
    return _worded(forest.features, (values[:, level - 1] if level else values)[:, :-1], most)


def _worded(names: Sequence[str], values: Array, most: int) -> list[str]:
    """The largest of the values (n, names) of each person, with their names."""
    first = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :most]
    return [
        "; ".join(f"{names[j]} {row[j]:+.2f}" for j in places if abs(row[j]) >= SHOWN)
        for row, places in zip(values, first, strict=True)
    ]
