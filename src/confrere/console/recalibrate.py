"""`confrere recalibrate`: a model with the intercept and the slope that an evaluation found, as a file of its own.

The old file stays as it is. The new model has its own SHA-256, and a card that says of which model it was made, and by
which evaluation. What was measured of the old one and hangs on the size of its risks is not carried over.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.analyses.learning.released import Model

ORDER = ("AUC", "concordance")  # metrics that hang on the order of the risks alone, which stays


def recalibrate(
    found: Annotated[Path, typer.Option("--with", metavar="FILE", help="The result.json of the evaluation.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The new model's file, such as risk-2026.json.")],
    model: Annotated[
        Path | None,
        typer.Argument(help="The model that was evaluated; left out, the published one.", metavar="[MODEL]"),
    ] = None,
    analysis: Annotated[str, typer.Option("--analysis", metavar="NAME", help="The evaluation, of several.")] = "",
    lang: Annotated[str, typer.Option("--lang", "--language", help="Language of the card's page: en or fr.")] = "en",
) -> None:
    """Write a model anew with the intercept and slope that an evaluation found for its risks.

    The file of the model stays as it is. The new one predicts, and is signed and evaluated, like any other.
    """
    from confrere.analyses.learning.recalibrated import recalibrated
    from confrere.analyses.learning.released import by, classes_of
    from confrere.console.output import check_language
    from confrere.console.result import files
    from confrere.report.model_card import page
    from confrere.report.words import Words

    check_language(lang)
    if out.suffix != ".json":
        raise StudyError(f"--out {out}: give NAME.json, and a name that is not there yet; no model is written over")
    old, plain, one = _published(found, analysis) if model is None else _learned(model, found, analysis)
    intercept, slope, baseline = correction(old, one) if not classes_of(old) else (*of_classes(one), {})
    made = recalibrated(old, 0.0 if baseline else intercept, slope)
    about = {"of": old.sha256 if model else "", "intercept": intercept, "slope": slope, "baseline": baseline,
             "time": by(old), "evaluation": one["said"]}  # fmt: skip
    beside: dict[str, Any] = {"card": _card(plain["card"], made.sha256, out.stem, about)}
    beside |= {"baseline": baseline} if baseline else {}
    beside |= {"sets": _sets(plain["sets"], intercept, slope)} if "sets" in plain else {}
    shown = page(beside["card"], Words("fr" if lang == "fr" else "en"))
    _write(out, {**files(out.stem, made, beside), f"{out.stem}.card.md": shown.encode()})
    starts = ", ".join(f"{a:.3g}" for a in (intercept if isinstance(intercept, list) else [intercept]))
    typer.echo(f"{out}: model {made.sha256[:16]}, recalibrated by the intercept {starts} and slope {slope:.3g}")


def _write(out: Path, contents: dict[str, bytes]) -> None:
    """The files of a model, by name, all or none. StudyError where one of them is there, or cannot be written."""
    if there := [name for name in contents if (out.parent / name).exists()]:
        raise StudyError(
            f"--out {out}: {', '.join(there)} is there; give a name that is not there yet; no model is written over"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (out.parent / name).write_bytes(content)
    except OSError as error:
        for name in contents:  # none was there before
            with suppress(OSError):
                (out.parent / name).unlink(missing_ok=True)
        raise StudyError(f"--out {out}: {error.strerror or error}; choose another file") from None


def correction(old: Model, one: dict[str, Any]) -> tuple[float, float, dict[str, float]]:
    """Intercept and slope of an evaluation; and of hazards the survival by its time of who has the hazard ratio 1.

    StudyError where the evaluation has none, or is not on the scale of the model.
    """
    from confrere.analyses.learning.released import by, ranks

    facts = one["facts"]
    intercept, slope = (facts.get(f"recalibration_{part}") for part in ("intercept", "slope"))
    if intercept is None or slope is None:
        raise StudyError("the evaluation found no intercept and slope: its people do not determine them, or it is old")
    if not ranks(old):
        if time := by(old):
            if facts.get("horizon") != time:
                raise StudyError(f"the model's risk is one by {time:g}: evaluate it with times = {time:g}")
        elif "horizon" in facts:
            raise StudyError(
                "the evaluation is of people followed, and the model's risk has no time: evaluate it of two levels"
            )
        return float(intercept), float(slope), {}
    hazard = intercept + slope * np.log(-np.log(one["settings"]["baseline"]))
    return float(intercept), float(slope), {"times": facts["horizon"], "survival": float(np.exp(-np.exp(hazard)))}


def of_classes(one: dict[str, Any]) -> tuple[list[float], float]:
    """The intercept of each class, 0 where none was found, and the slope of an evaluation of a model of classes.

    StudyError where it has no slope.
    """
    found = {r["metric"]: r["estimate"] for r in one["tables"]["metrics"]}
    slope, rows = found.get("calibration slope"), one["tables"].get("intercepts", [])
    if slope is None:
        raise StudyError("the evaluation found no slope: its people do not determine it. Ask more of them")
    starts = [float(r["estimate"]) for r in rows] or [0.0] * (int(one["facts"]["classes"]) - 1)
    return [0.0, *starts], float(slope)


def _learned(path: Path, found: Path, name: str) -> tuple[Model, dict[str, Any], dict[str, Any]]:
    """A model, its file, and the evaluation of it: `facts`, `settings`, and as it is `said` on a card."""
    from confrere.console.card import evaluations
    from confrere.console.predict import read

    model = read(path)
    plain = json.loads(path.read_text(encoding="utf-8"))
    if "card" not in plain:
        raise StudyError(f"{path} has no card; give models/NAME.json of a result")
    said = {one["analysis"]: one for one in evaluations(found, model.sha256)}
    result = json.loads(found.read_text(encoding="utf-8"))
    return model, plain, _chosen(result, said, name)


def _published(found: Path, name: str) -> tuple[Model, dict[str, Any], dict[str, Any]]:
    """The same of the published model that a study wrote down, with a card of these people."""
    from confrere.analyses.learning.terms import Terms
    from confrere.console.card import entry
    from confrere.report.model_card import card
    from confrere.study.ground import Ground, model_of
    from confrere.study.schema import Schema

    try:
        raw = found.read_bytes()
        result = json.loads(raw)
        analyses = {
            a["name"]: a for a in result["analyses"] if a["method"] == "evaluate" and a["settings"].get("model")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"--with {found} is no result ({error}); give the result.json of an evaluation") from None
    if not analyses:
        raise StudyError(
            f"--with {found} has no evaluation of a published model; of a learned one give its file: "
            f"confrere recalibrate models/NAME.json --with {found}"
        )
    one = _chosen(result, {n: entry(result, a, raw) for n, a in analyses.items()}, name)
    given, ground = one["settings"], Ground(Schema.from_dict(result["study"]["columns"]))
    formula, hazards = f"{given['outcome']} ~ {given['model']}", given.get("link") == "cox"
    terms = model_of(formula, ground).names
    coefficients = [given["coefficients"][t] for t in terms]
    coefficients = coefficients if hazards else [given["coefficients"].get("Intercept", 0.0), *coefficients]
    method, family, link = ("cox", "cox", "") if hazards else ("logistic", "binomial", "logit")
    model = Terms(method, formula, family, link, tuple(map(float, coefficients)), (), ground)
    analysis = analyses[one["said"]["analysis"]]
    bare = analysis["tables"] | {"metrics": []}
    told = {"model_sha256": "", "people_trained": 0}  # on how many it was trained, the study did not write down
    made = card(result, analysis | {"settings": given | {"formula": formula}, "tables": bare, "facts": told})
    made["model"]["method"] = method
    return model, {"card": made}, one


def _chosen(result: dict[str, Any], said: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The evaluation of a name, or the only one: `facts`, `settings`, `tables`, and as it is `said` on a card."""
    if (name and name not in said) or (not name and len(said) != 1):
        given = f"--analysis {name} is none" if name else "which evaluation? --analysis NAME"
        raise StudyError(f"{given}; name one of the evaluations of the model: {', '.join(said)}")
    wanted = name or next(iter(said))
    (analysis,) = [a for a in result["analyses"] if a["name"] == wanted]
    return {**{part: analysis[part] for part in ("facts", "settings", "tables")}, "said": said[wanted]}


def _card(old: dict[str, Any], sha256: str, name: str, about: dict[str, Any]) -> dict[str, Any]:
    """The card of the new model."""
    made = {key: value for key, value in old.items() if key != "evaluations"}
    made["model"] = old["model"] | {"sha256": sha256, "name": name, "made": about["evaluation"]["made"]}
    made["metrics"], made["subgroups"] = (
        [r for r in old[part] if r["metric"].endswith(ORDER)] for part in ("metrics", "subgroups")
    )
    return made | {"recalibration": about, "release": {}}  # what a reader released was the model before


def _sets(plain: dict[str, Any], intercept: float | list[float], slope: float) -> dict[str, Any]:
    """Limits of two classes, which are of margins, so that everybody's set stays as it was; of more classes margins do
    not move with the scores, and the sets are of the scores before."""
    from confrere.analyses.learning.conformal import ALWAYS

    if isinstance(intercept, list):
        *starts, before = plain.get("moved", [0.0] * len(intercept) + [1.0])
        moved = [a + slope * was for a, was in zip(intercept, starts, strict=True)]
        return plain | {"moved": [*moved, slope * before]}
    moved = [sign * intercept + slope * at for sign, at in zip((-1, 1), plain["limits"], strict=True)]
    return plain | {"limits": [at if at == ALWAYS else new for at, new in zip(plain["limits"], moved, strict=True)]}
