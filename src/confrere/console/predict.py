"""`confrere predict`: a hospital's own people ordered by risk, with reasons, by a model that was released.

Nothing leaves: the model is a file, and the list is written where the hospital says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from confrere.errors import StudyError
from confrere.rounds import Array

if TYPE_CHECKING:
    import pandas as pd

    from confrere.analyses.learning.forest import Forest
    from confrere.study.schema import Schema

MOST = 100_000  # people at a time


def predict(
    model: Annotated[Path, typer.Argument(help="A model: models/NAME.json of a result.", metavar="MODEL")],
    table: Annotated[str, typer.Option("--table", metavar="FILE", help="The people: CSV, Parquet or DuckDB.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the list goes (CSV).")],
    person: Annotated[str, typer.Option("--person", metavar="COLUMN", help="The column of person ids.")] = "person_id",
    reasons: Annotated[int, typer.Option("--reasons", metavar="N", help="Reasons for each person.")] = 3,
) -> None:
    """Order a hospital's own people by a model's prediction, with the features that raise or lower it most.

    Nothing leaves this machine.
    """
    forest = read(model)
    found = listed(forest, table, person, reasons)
    try:
        found.to_csv(out, index=False)
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror}; choose another file") from None
    typer.echo(f"{len(found)} people, ordered by the prediction of model {forest.sha256[:16]}: {out}")


def read(path: Path) -> Forest:
    """The model in a file. StudyError where there is none."""
    from confrere.analyses.learning.forest import Forest

    try:
        return Forest.from_plain(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, StudyError) as error:
        raise StudyError(
            f"{path} is no model that Confrere wrote ({error}); give models/NAME.json of a result"
        ) from None


def listed(forest: Forest, source: str, person: str, most: int = 3) -> pd.DataFrame:
    """A row per person, the highest prediction first: `person`, `prediction` and `reasons`."""
    import pandas as pd

    from confrere.analyses.learning.boosting import Boosting
    from confrere.data import sources
    from confrere.study.ground import Ground

    if forest.classes > 1:
        raise StudyError(f"a list is ordered by one risk; the model has {forest.classes} classes. Use Python's predict")
    schema = schema_of(forest)
    features = tuple(dict.fromkeys(name.partition("[")[0] for name in forest.features))
    read = sources.read(source, list(features), schema, person)
    boosting = Boosting("", features, forest.objective, ground=Ground(schema))
    if boosting.terms != forest.features:
        raise StudyError(f"the model reads {', '.join(forest.features)}, which no table has; was it changed?")
    score = forest.score(x := boosting.values(read.frame))
    order = np.lexsort([read.frame[person].astype(str), -score])
    found = {person: read.frame[person].to_numpy()[order], "prediction": forest.prediction(score[order])}
    parts = [order[low : low + MOST] for low in range(0, len(order), MOST)]
    why = [text for part in parts for text in explained(forest, [v[part] for v in x], most)]
    return pd.DataFrame(found | {"reasons": why})


def schema_of(forest: Forest) -> Schema:
    """The columns with levels that a model reads: it splits `column[level]`, of every level of a column."""
    from confrere.study.schema import Column, Schema

    levels: dict[str, list[str]] = {}
    for name in forest.features:
        column, bracket, level = name.partition("[")
        if bracket:
            levels.setdefault(column, []).append(level.removesuffix("]"))
    return Schema({name: Column(name, tuple(values)) for name, values in levels.items()})


def explained(forest: Forest, columns: list[Array], most: int) -> list[str]:
    """Of each person the features whose Shapley values are largest, such as `nodes +0.41; age -0.12`."""
    from confrere.analyses.learning.reasons import contributions

    values = contributions(forest, columns)[:, :-1]
    first = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :most]
    return [
        "; ".join(f"{forest.features[j]} {row[j]:+.2f}" for j in places if row[j])
        for row, places in zip(values, first, strict=True)
    ]
