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

from confrere.errors import StudyError
from confrere.report.files import csv_bytes
from confrere.rounds import Array, Bools, Ints

if TYPE_CHECKING:
    import pandas as pd

    from confrere.analyses.learning.conformal import Conformal
    from confrere.analyses.learning.forest import Forest
    from confrere.analyses.learning.released import Model
    from confrere.analyses.learning.terms import Terms
    from confrere.analyses.networks.model import Net
    from confrere.study.ground import Ground

MOST = 100_000  # people at a time
MISSING = "missing"
SHOWN = 0.005  # a reason that is printed as +0.00 is none


def predict(
    model: Annotated[Path, typer.Argument(help="A model: models/NAME.json of a result.", metavar="MODEL")],
    table: Annotated[
        str,
        typer.Option(
            "--table",
            metavar="FILE",
            help="The people: CSV, Parquet or DuckDB. Bags, if the model reads some, stand beside it: NAME.bags.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the list goes (CSV).")],
    person: Annotated[str, typer.Option("--person", metavar="COLUMN", help="The column of person ids.")] = "person_id",
    reasons: Annotated[int, typer.Option("--reasons", metavar="N", help="Reasons for each person.")] = 3,
    level: Annotated[
        str, typer.Option("--class", metavar="LEVEL", help="Of several classes, the level to order people by.")
    ] = "",
) -> None:
    """Order a hospital's own people by a model's prediction, with the features that raise or lower it most.

    A model that was learned with `conformal` also gives each person's set of classes, and abstains where it is not of
    one; one of hazards that was recalibrated gives the risk by the time of the evaluation. Nothing leaves this machine.
    """
    from confrere.console.output import apart

    found = read(model)
    apart(out, model, table)
    what = predicted(found, model)
    for line in doubts(found, model):
        typer.echo(line, err=True)
    place = numbered(level, what["levels"], found)
    made = listed(found, table, person, reasons, place, sets_of(model))
    made.insert(2, "unit", unit := unit_of(what, place))
    typer.echo(f"prediction: {unit}")
    if baseline := json.loads(model.read_text(encoding="utf-8")).get("baseline"):
        made.insert(3, "risk", -np.expm1(made["prediction"] * np.log(float(baseline["survival"]))))
        typer.echo(f"risk: probability of it by the time {baseline['times']:g}")
    rows = made.astype(object).where(made.notna(), None).to_dict("records")
    try:
        out.write_bytes(csv_bytes(rows, list(made)))
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror or error}; choose another file") from None
    typer.echo(f"{len(made)} people, ordered by the prediction of model {found.sha256[:16]}: {out}")


def doubts(model: Model, path: Path) -> list[str]:
    """What a file says of itself that its reader should know: that it is another model than that of its card, and that
    signatures in it are not checked here."""
    from confrere.hospital.signing import of_card

    plain, said = json.loads(path.read_text(encoding="utf-8")), []
    if "card" in plain and (of := of_card(plain)) != model.sha256:
        said.append(
            f"warning: {path} was changed: its card is of the model {of[:16] or 'without a SHA-256'}, and it holds "
            f"{model.sha256[:16]}. Ask for the file again from who gave it"
        )
    if signatures := plain.get("signatures"):
        said.append(
            f"note: the signatures of {', '.join(sorted(signatures))} were not checked; "
            f"`confrere hospital check-model {path}` does"
        )
    return said


def predicted(model: Model, path: Path) -> dict[str, Any]:
    """What a model predicts, as the card in its file has it; what the model knows itself is from it."""
    from confrere.analyses.learning.released import by, kind
    from confrere.analyses.learning.terms import Terms
    from confrere.analyses.networks.model import Net

    card = json.loads(path.read_text(encoding="utf-8")).get("card", {})
    known: dict[str, Any] = card.get("predicts", {"outcome": "the outcome", "levels": [], "time_unit": ""})
    own: dict[str, Any] = {"objective": kind(model), "by": by(model)}
    if isinstance(model, Terms):
        own["outcome"] = model.formula.partition("~")[0].strip()
    if isinstance(model, Net):
        own |= {"outcome": model.outcome, "levels": list(model.levels) or known["levels"]}
    compared = isinstance(model, Terms) and model.centre
    return known | own | {"reference": "mean" if compared else "zero"}


def unit_of(what: dict[str, Any], place: int = 0) -> str:
    """What one number of a list is; of a class, of the one that people are ordered by."""
    from confrere.report.predicted import meaning
    from confrere.report.words import Words

    if place:
        level = what["levels"][place - 1] if place <= len(what["levels"]) else f"level {place}"
        return f"Probability of {what['outcome']} = {level}"
    time = f" by {what['by']:g} {what['time_unit']}".rstrip() if what["by"] else ""
    return meaning({"predicts": what}, Words()) + time


def numbered(level: str, levels: Sequence[str], model: Model) -> int:
    """The place, from 1, of the class called by its name or its place; 0 for none. StudyError: it is neither, or the
    model is of several classes and none is called."""
    from confrere.analyses.learning.released import classes_of

    if not level and levels and classes_of(model):
        raise StudyError(f"a list is ordered by one risk; the model has {', '.join(levels)}. Name one: --class LEVEL")
    if level in levels:
        return levels.index(level) + 1
    try:
        return int(level or 0)
    except ValueError:
        known = f"; it has {', '.join(levels)}" if levels else ""
        raise StudyError(f"--class {level} is no level of the outcome{known}. Name one, or its place from 1") from None


def read(path: Path) -> Model:
    """The model in a file. StudyError where there is none."""
    from confrere.analyses.learning.released import read as opened

    return opened(path)


def sets_of(path: Path) -> Conformal | None:
    """The sets of classes in the file of a model; None where it has none."""
    from confrere.analyses.learning.conformal import Conformal

    plain = json.loads(path.read_text(encoding="utf-8")).get("sets")
    return Conformal.from_plain(plain) if plain else None


def listed(
    model: Model, source: str, person: str, most: int = 3, level: int = 0, sets: Conformal | None = None
) -> pd.DataFrame:
    """A row per person, the highest prediction first: `person`, `prediction`, `reasons`; with `sets` also `set`, the
    classes that it may be, the likeliest first, and `abstains`, "yes" where they are not one.

    Of a model of several classes people are ordered by the class `level`, counted from 1. Who misses a value that a
    regression or a network needs is last, without a prediction and a set; trees take missing values.
    """
    import pandas as pd

    from confrere.analyses.learning.forest import Forest
    from confrere.analyses.learning.terms import Terms
    from confrere.analyses.networks.model import Net

    with np.errstate(over="ignore", invalid="ignore"):  # of numbers that are too large, which are refused
        if isinstance(model, Net):
            ids, predicted, why, score = _by_network(model, source, person, most, level)
        elif isinstance(model, Forest):
            ids, predicted, why, score = _by_trees(model, source, person, most, level)
        else:
            ids, predicted, why, score = _by_terms(model, source, person, most, level)
    order = np.lexsort([ids.astype(str), np.where(np.isnan(predicted), np.inf, -predicted)])
    reasons = [why(order[low : low + MOST]) for low in range(0, len(order), MOST)]
    rows = {person: ids[order], "prediction": predicted[order]}
    if sets is not None and not isinstance(model, Terms):
        rows |= _sets(sets, model.objective, score[order])
    return pd.DataFrame(rows | {"reasons": [text for part in reasons for text in part]})


def _sets(sets: Conformal, objective: str, score: Array) -> dict[str, list[str]]:
    """The columns `set` and `abstains` of scores (n,), or (n, K), NaN of who has none."""
    margin = sets.margins(objective, score)
    known: list[bool] = [bool(np.isfinite(row).all()) for row in margin]
    one: list[bool] = [int(row.sum()) == 1 for row in sets.sets(margin)]
    return {
        "set": [text if k else "" for text, k in zip(sets.worded(margin), known, strict=True)],
        "abstains": ["" if not k else "" if o else "yes" for o, k in zip(one, known, strict=True)],
    }


Listed = tuple[Any, Array, Callable[[Ints], list[str]], Array]  # ids, predictions, reasons of some places, scores


def _people(source: str, columns: Sequence[str], ground: Ground, person: str) -> pd.DataFrame:
    """The people of a table; says on the terminal how many values were outside of a declared range, or are missing."""
    from confrere.data import sources

    table = sources.read(source, list(columns), ground.schema, person)
    for name, many in table.clamped.items():
        if many:
            low, high = ground.schema.column(name).range or ("", "")
            typer.echo(
                f"warning: {name}: {many} of {len(table.frame)} values are outside of {low:g} to {high:g}, which the "
                f"model declares, and were set to its nearer end. Are they in the same unit?",
                err=True,
            )
    for name in columns:
        if many := int(table.frame[name].isna().sum()):
            typer.echo(f"note: {name}: missing for {many} of {len(table.frame)} people", err=True)
    return table.frame


def _sound(shown: Array, whole: Bools) -> None:
    """StudyError where the model predicts no number (n,) for people who miss nothing (n,)."""
    if many := int(np.count_nonzero(whole & ~np.isfinite(shown))):
        raise StudyError(
            f"the model predicts no number for {many} of {len(shown)} people who miss no value: it is broken, or was "
            f"changed. Ask for it again"
        )


def _by_trees(forest: Forest, source: str, person: str, most: int, level: int) -> Listed:
    """Ids, predictions and reasons by boosted trees."""
    from confrere.analyses.learning.reasons import contributions
    from confrere.analyses.learning.released import reader

    place, boosting = _place(level, forest.classes), reader(forest)
    frame = _people(source, boosting.features, boosting.ground, person)
    x = boosting.values(frame)
    score = forest.score(x)
    shown = forest.prediction(score).reshape(len(frame), forest.classes)[:, place]
    _sound(shown, np.ones(len(frame), dtype=bool))

    def why(at: Ints) -> list[str]:
        values = contributions(forest, [v[at] for v in x])
        sources = [(name.partition("[")[0],) for name in forest.features]
        return worded(sources, frame.iloc[at], (values[:, place] if level else values)[:, :-1], most)

    return frame[person].to_numpy(), shown, why, score


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
    from confrere.study.ground import model_of

    _place(level, 1)
    frame = _people(source, terms.columns, terms.ground, person)
    apart, score = terms.contributions(frame), terms.score(frame)
    shown = terms.prediction(score)
    _sound(shown, frame.notna().all(axis=1).to_numpy())
    read = model_of(terms.formula, terms.ground).sources

    def why(at: Ints) -> list[str]:
        return worded(read, frame.iloc[at], apart[at], most)

    return frame[person].to_numpy(), shown, why, score


def _by_network(net: Net, source: str, person: str, most: int, level: int) -> Listed:
    """Ids, predictions and reasons by a network; a feature's reason is what the score would lose, were it the mean of
    the people of training. Bags stand beside the table."""
    from confrere.data import bags
    from confrere.study.ground import model_of

    place = _place(level, max(1, len(net.levels)))
    frame = _people(source, net.columns, net.ground, person)
    ids: Any = frame[person].to_numpy()
    x = net.features(frame)
    found = next(iter(bags.opened([net.bags], bags.beside(source, [net.bags])).values())) if net.bags else None
    if found is not None:
        found.fit(net.bags, net.sizes.bag, net.bag_recipe)
    score = net.scored(frame, found, ids)
    known = np.asarray(np.isfinite(score).all(axis=1))

    def bag(at: Ints) -> Callable[[int], Any] | None:
        return None if found is None else (lambda i: found.of(ids[at[i]]))

    def why(at: Ints) -> list[str]:
        inside, apart = at[known[at]], np.full((len(ids), x.shape[1]), np.nan)
        apart[inside] = net.contributions(x[inside], bag(inside))[:, :, place]
        said = worded(model_of(net.formula, net.ground).sources, frame.iloc[at], apart[at], most)
        lost = set() if found is None else set(at[~np.asarray(found.known(ids[at]))].tolist())
        return [f"no {net.bags}" if i in lost else text for i, text in zip(at.tolist(), said, strict=True)]

    shown = np.full(len(ids), np.nan)
    shown[known] = net.prediction(score[known]).reshape(int(known.sum()), max(1, len(net.levels)))[:, place]
    seen = True if found is None else np.asarray(found.known(ids))
    _sound(shown, frame.notna().all(axis=1).to_numpy() & seen)
    return ids, shown, why, score


def worded(sources: Sequence[tuple[str, ...]], frame: pd.DataFrame, values: Array, most: int) -> list[str]:
    """Why each person of a table (n,) has the score: the columns that add most, with the person's own value of them,
    such as `nodes = 12 (+0.41); size = >50 (+0.26)`. What terms add (n, p) is told by the columns that they read, of
    which `sources` has those of each term. Who misses a value, and has no score, has that for a reason."""
    groups = list(dict.fromkeys(sources))
    apart = np.zeros((len(frame), len(groups)))
    for source, column in zip(sources, values.T, strict=True):
        apart[:, groups.index(source)] += column
    places = np.argsort(-np.abs(apart), axis=1, kind="stable")[:, :most]
    read = {name: _values(frame[name]) for name in dict.fromkeys(name for group in groups for name in group)}
    return [
        "; ".join(
            f"{', '.join(f'{name} = {read[name][i]}' for name in groups[j])} ({row[j]:+.2f})"
            for j in places[i]
            if abs(row[j]) >= SHOWN
        )
        if not np.isnan(row).any()
        else f"no value of {', '.join(name for name in read if read[name][i] == MISSING)}"
        for i, row in enumerate(apart)
    ]


def _values(column: Any) -> list[str]:
    """Everybody's value of a column, as a list has it."""
    return [
        MISSING if lost else f"{value:g}" if isinstance(value, float) else str(value)
        for value, lost in zip(column.to_list(), column.isna(), strict=True)
    ]
