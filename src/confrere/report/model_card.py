"""The card of a model: what whoever is offered it must know before they use it, or let it out of the airlock.

Its heads are those of Mitchell et al., Model cards for model reporting (FAT* 2019;220-229), with the attacks that were
tried on the model before its release. `card` is plain data, which stands in the model's file; `sheet` the same as a
table of the report and of the airlock's page; `markdown` as a page beside the file. Pure: all is made of the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from confrere.report import predicted
from confrere.report.cautions import said
from confrere.report.notes import told
from confrere.report.schema import Record, Result
from confrere.report.tables import Column, Row, Table, threshold
from confrere.report.words import Words

FORMAT = "confrere-card/1"
METRICS = ("metric", "sample", "subgroup", "level", "estimate", "conf_low", "conf_high")
NOISE = ("epsilon", "epsilon_if_one_colludes", "delta", "privacy_unit")
GAP = ("cross-validation", "training")
OF_RISKS = (
    "To order people by a prediction, beside a clinician's judgement. No decision follows from it alone, and no "
    "feature is shown to be a cause."
)
OF_CLASSES = (
    "To propose a class, or a set of classes, beside a clinician's judgement. No decision follows from it alone, and "
    "no feature is shown to be a cause."
)
ORDER = ("AUC", "concordance")  # metrics of how well people are told apart
EXEMPT = {"boosting": "histograms", "network": "model_weights"}  # whose sums are outside the limit of numbers
PARTS = {"evaluate": ("risks", "followed_risks", "recalibrated", "inputs")}  # in whose names its numbers left
BESIDE = ("scored", "scored_times", "losses_of_times", "conformal", "permuted")  # the same of a model that was learned
Lines = list[tuple[str, str]]


class Section(NamedTuple):
    """A head, and lines of a label and a text."""

    head: str
    lines: Lines


def is_model(analysis: Mapping[str, Any]) -> bool:
    """Whether an analysis of a result made a model that is delivered."""
    return "model_sha256" in analysis["facts"]


def card(result: Result, analysis: Record) -> dict[str, Any]:
    """The card of the model of one analysis, as plain data in English."""
    study, tables = result["study"], analysis["tables"]
    trained = analysis["facts"].get("people_trained", analysis["n"])
    return {
        "format": FORMAT,
        "model": {
            "name": analysis["name"], "method": analysis["method"], "settings": analysis["settings"],
            "sha256": analysis["facts"]["model_sha256"], "made": result["created"], "confrere": result["confrere"],
            "licence": study.get("licence", ""),
        },
        **predicted.about(result, analysis),
        "purpose": {"study": study["id"], "hash": study["hash"], "title": study["title"], "purpose": study["purpose"]},
        "population": {
            "people": analysis["n"], "events": analysis["events"], "hospitals": analysis["hospitals"],
            "k": threshold(study), **({"trained": trained} if trained else {}),  # of a published model nobody knows
            "left_out": [r for r in tables.get("attrition", []) if r["step"] == "left out"],
            "columns": {name: study["columns"][name] for name in _columns(analysis) if name in study["columns"]},
        },
        "metrics": _metrics(analysis),
        "subgroups": [r for r in tables.get("metrics", []) if r.get("subgroup")],
        "sets": {"limits": tables.get("conformal_limits", []), "covered": tables.get("conformal", [])},
        "attacks": {
            "membership": tables.get("attack", []), "outcomes": tables.get("reconstruction", []),
            "reconstruction": _numbers(result, analysis),
        },
        "noise": {name: analysis["facts"][name] for name in NOISE if name in analysis["facts"]},
        "disclosure": study["disclosure"],
        "limits": {"warnings": analysis["warnings"], "notes": analysis["notes"]},
        "release": {k: result["release"][k] for k in ("state", "by", "at")} if "release" in result else {},
    }  # fmt: skip


def _columns(analysis: Record) -> list[str]:
    """The names that settings mention, without those of functions, of which the study's columns are picked."""
    given = analysis["settings"]
    features = given.get("features", ())
    words = [
        given.get("formula", ""),
        given.get("outcome", ""),
        *([features] if isinstance(features, str) else features),
    ]
    return list(dict.fromkeys(re.findall(r"[\w.]+(?![\w.]*\s*\()", " ".join(map(str, words)))))


def _metrics(analysis: Record) -> list[Record]:
    """Metrics with their limits: of held-out people, by cross-validation, or of the fit itself."""
    tables, facts = analysis["tables"], analysis["facts"]
    found = [{k: r[k] for k in METRICS if k in r} for r in tables.get("metrics", []) if not r.get("subgroup")]
    for row in tables.get("cv", []):
        if row["lambda"] == facts.get("lambda"):
            reach = 1.959963984540054 * row["std_error"]
            limits = {"conf_low": row["mean"] - reach, "conf_high": row["mean"] + reach}
            found.append({"metric": "deviance", "sample": "cross-validation", "estimate": row["mean"], **limits})
    found += _explained(analysis) if found and facts.get("family") == "cox" else []
    if facts.get("family") != "cox" and found and analysis["method"] == "penalised" and not _weighted(analysis):
        found.append({"metric": "deviance", "sample": "training", "estimate": facts["deviance"] / analysis["n"]})
    if "concordance" in facts:
        c, reach = facts["concordance"], 1.959963984540054 * facts["concordance_se"]
        limits = {"conf_low": max(0.0, c - reach), "conf_high": min(1.0, c + reach)}
        found.append({"metric": "concordance", "sample": "training", "estimate": c, **limits})
    given = [row | {"sample": row["left_out"]} for row in tables.get("left_out", [])]  # of the models of the others
    return found + [{k: row[k] for k in METRICS if k in row} for row in given]


def _weighted(analysis: Record) -> bool:
    return bool(analysis["settings"].get("weights"))


def _explained(analysis: Record) -> list[Record]:
    """The share of the cross-validated deviance without terms that a penalised Cox model explains.

    Of Cox's model that of training has no place beside it: what a fold adds to the partial likelihood is of all risk
    sets, and the likelihood of everybody per event is not on its scale.
    """
    tables, facts = analysis["tables"], analysis["facts"]
    without = [row["lambda"] for row in tables["path"] if not row["df"]]
    loss = {row["lambda"]: row["mean"] for row in tables["cv"]}
    if not without:
        return []
    share = 1 - loss[facts["lambda"]] / loss[without[0]]
    return [{"metric": "deviance explained", "sample": "cross-validation", "estimate": share}]


def _numbers(result: Result, analysis: Record) -> dict[str, Any]:
    """How many numbers left for the analysis, beside the values that hospitals hold: who has fewer equations than
    unknowns cannot solve for all of them."""
    names = PARTS.get(analysis["method"], (analysis["method"], *BESIDE))
    alone = bool(analysis["settings"].get("leave_out"))  # in its study: all that left is its own
    asked = [a for a in result["left"] if (alone or a["analysis"] in names) and a["kind"] == "ask"]
    values = analysis["n"] * max(1, len(_read(analysis)))
    numbers = sum(prod(a["shape"]) * a["rounds"] for a in asked)
    word = EXEMPT.get(analysis["method"], "")
    return {"numbers_left": numbers, "values_held": values, "word": word * (word in result["study"]["disclosure"])}


def _read(analysis: Record) -> list[str]:
    """The columns that were read, as far as settings tell."""
    given = analysis["settings"]
    if isinstance(given.get("features"), str) or analysis["method"] == "evaluate":
        return [name for name in _columns(analysis) if not name.replace(".", "").isdigit()]
    if "features" in given:
        return [*given["features"], given["outcome"]]
    return sorted({r["term"].partition("[")[0] for r in analysis["tables"].get("coefficients", [])})


# As it is read -----------------------------------------------------------------------------------------------


def sections(made: Mapping[str, Any], words: Words) -> list[Section]:
    """The card in the language of its reader."""
    model, purpose = made["model"], made["purpose"]
    about = [
        (words("Model"), f"{model['name']}{words.colon}{words.method(model['method'])}"),
        (words("Licence"), model["licence"] or words("Not stated. Ask whoever made the study before you use it.")),
        ("SHA-256", model["sha256"]), (words("Made"), f"{model['made'][:10]}, Confrere {model['confrere']}"),
    ]  # fmt: skip
    use = [
        (words("Question"), purpose["title"]), (words("Purpose"), purpose["purpose"]),
        (words("Use"), words(OF_CLASSES if made.get("predicts", {}).get("objective") == "multiclass" else OF_RISKS)),
        (words("Study"), f"{purpose['study']}, {purpose['hash']}"),
    ]  # fmt: skip
    return [
        Section(words("Model"), about),
        *([Section(words("Prediction"), found)] if (found := list(predicted.lines(made, words))) else []),
        Section(words("Purpose"), use),
        Section(words("Population"), _population(made["population"], words)),
        Section(words("Performance"), list(_performance(made, words))),
        *([_recalibration(made["recalibration"], words)] if "recalibration" in made else []),
        *(_evaluation(found, words) for found in made.get("evaluations", ())),
        Section(words("Attacks on the model"), list(_attacks(made, words))),
        Section(words("Limits"), list(_limits(made, words))),
    ]  # fmt: skip


def _population(people: Mapping[str, Any], words: Words) -> Lines:
    forms = words.numbers
    lines = [
        (words("People"), forms.count(people["people"])), (words("Hospitals"), forms.count(people["hospitals"])),
    ]  # fmt: skip
    if people.get("trained"):
        lines.insert(1, (words("Trained on"), forms.count(people["trained"])))
    if people["events"] is not None:
        lines.append((words("Events"), forms.count(people["events"])))
    for row in people["left_out"]:
        lines.append((words("Left out"), f"{row['reason']}{words.colon}{_withheld(row['n'], people['k'], words)}"))
    for name, column in people["columns"].items():
        lines.append((name, _declared(column)))
    return lines


def _withheld(n: int | None, k: int, words: Words) -> str:
    return words("fewer than {k}", k=k) if n is None else words.numbers.count(n)


def _declared(column: Mapping[str, Any]) -> str:
    """Levels or range of a column, and its unit."""
    said = ", ".join(column.get("levels", ())) or " – ".join(f"{v:g}" for v in column.get("range", ()))
    return f"{said} {column.get('unit', '')}".strip() or "–"


def _performance(made: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    for row in made["metrics"]:
        sample = f", {words.label(row['sample'])}" if row.get("sample") else ""
        yield f"{words.title(row['metric'])}{sample}", _interval(row, words)
    if not made["metrics"]:
        yield words("Metrics"), words("None was measured. Evaluate the model on other people before you use it.")
    elif _unranked(made):
        yield (
            words("Discrimination"),
            words(
                "Not measured here: no number above says how well people are told apart. Evaluate the model on other "
                "people (method evaluate, with its file as learnt), or learn it with leave_out."
            ),
        )
    if _stopped(made):
        yield (
            words("Held out"),
            words(
                "Training ended by the loss of the people held out, so their metrics are a little too good. Evaluate "
                "the model on other people."
            ),
        )
    for row in made["subgroups"]:
        yield f"{words.title(row['metric'])}, {row['subgroup']} {row['level']}", _interval(row, words)
    if not made["subgroups"] and not any(row["subgroup"] for row in made.get("sets", {}).get("covered", ())):
        yield (
            words("Subgroups"),
            words("Not measured here. An evaluation with by = COLUMN tells of each of its levels."),
        )
    yield from _sets(made.get("sets", {}), words)


def _stopped(made: Mapping[str, Any]) -> bool:
    """Whether the people held out chose the number of trees."""
    return bool(made.get("learned", {}).get("settings", {}).get("patience"))


def _unranked(made: Mapping[str, Any]) -> bool:
    """Whether a model of a risk or of hazards was measured, and not by an area or a concordance."""
    told_apart = made.get("predicts", {}).get("objective") in ("binary", "cox", "discrete", "multiclass")
    return told_apart and not any(row["metric"].endswith(ORDER) for row in made["metrics"])


def _evaluation(found: Mapping[str, Any], words: Words) -> Section:
    """What an evaluation of the model by other hospitals, or of other people, found."""
    forms = words.numbers
    lines = [
        (words("Study"), f"{found['study']}, {found['hash']}"), (words("Made"), found["made"][:10]),
        (words("People"), forms.count(found["people"])), *_events(found, words),
        (words("Hospitals"), forms.count(found["hospitals"])),
    ]  # fmt: skip
    if found.get("horizon") is not None:
        lines.append((words("By when"), words.length(forms.short(found["horizon"], 6), found.get("time_unit"))))
    for row in found["metrics"]:
        whom = f", {row['subgroup']} {row['level']}" if row["subgroup"] else ""
        lines.append((f"{words.title(row['metric'])}{whom}", _interval(row, words)))
    lines += _warnings(found.get("warnings", ()), words)
    return Section(words("Evaluation: {title}", title=found["title"]), lines)


def _events(found: Mapping[str, Any], words: Words) -> Lines:
    """How many had the event; of classes nobody has one."""
    return [] if found["events"] is None else [(words("Events"), words.numbers.count(found["events"]))]


def _recalibration(about: Mapping[str, Any], words: Words) -> Section:
    """Of which model it was made, by which evaluation."""
    forms, found = words.numbers, about["evaluation"]
    starts = about["intercept"] if isinstance(about["intercept"], list) else [about["intercept"]]
    a, b = forms.fixed(starts[0], 3), forms.fixed(about["slope"], 3)
    lines = [
        (words("Made of"), about["of"] or words("A published model, with the coefficients that the study wrote down.")),
        (words("Study"), f"{found['study']}, {found['hash']}"), (words("Made"), found["made"][:10]),
        (words("People"), forms.count(found["people"])), *_events(found, words),
        (words("Hospitals"), forms.count(found["hospitals"])),
        (words("Risks"),
         words("The scores of the classes are {b} times what they were, plus {starts}.", b=b,
               starts=", ".join(forms.fixed(one, 3) for one in starts)) if len(starts) > 1 else
         words("Hazard ratios are raised to the power {b}.", b=b) if about["baseline"] else
         words("The complementary log-log of the risk is {a} + {b} times what it was.", a=a, b=b)
         if about.get("time") else words("The logit of the risk is {a} + {b} times what it was.", a=a, b=b)),
    ]  # fmt: skip
    if at := about["baseline"]:
        text = words("Of those with the hazard ratio 1, a share of {share} has no event by the time {time}.",
                     time=forms.short(at["times"]), share=forms.fixed(at["survival"], 3))  # fmt: skip
        lines.append((words("Baseline"), text))
    lines.append((words("Note"), words("Measured before: {metrics}. Evaluate the new model on other people.",
                                       metrics=_measured(found, words))))  # fmt: skip
    return Section(words("Recalibration"), lines)


def _measured(found: Mapping[str, Any], words: Words) -> str:
    """The metrics of everybody in an evaluation, as a text."""
    rows = [row for row in found["metrics"] if not row["subgroup"]]
    return "; ".join(f"{words.title(row['metric'])} {_interval(row, words)}" for row in rows)


def _sets(sets: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """What is promised of sets of classes, and what was found."""
    forms = words.numbers
    if limits := sets.get("limits"):
        yield words("Sets of classes"), words(
            "A person's set of classes holds the right one in {share} % of new people or more, if they come as those "
            "held out did, hospitals in the same proportions. Where it is not of one class, the model abstains.",
            share=forms.fixed(100 * (1 - limits[0]["alpha"]), 1),
        )  # fmt: skip
    for row in sets.get("covered", []):
        whom = ", ".join(filter(None, (" ".join(filter(None, (row["subgroup"], row["level"]))), row["class"])))
        of = f"{', ' * bool(whom)}{whom}"
        if row["coverage"] is not None:
            yield f"{words('Coverage')}{of}", _interval(row | {"estimate": row["coverage"]}, words)
        if row["abstained"] is not None:  # a model that abstains on everybody has a coverage of 1
            share = forms.fixed(100 * row["abstained"], 1)
            yield f"{words('Abstention')}{of}", words("on {share} % of people", share=share)
        elif row["coverage"] is not None:
            yield f"{words('Abstention')}{of}", words("may not be told: too few people on one side")


def _interval(row: Mapping[str, Any], words: Words) -> str:
    forms = words.numbers
    if row["estimate"] is None:
        return "–"
    limits = forms.interval(*(forms.fixed(row.get(end), 3) for end in ("conf_low", "conf_high")))
    shown = forms.fixed(row["estimate"], 3)
    return shown if row.get("conf_low") is None else f"{shown} ({words.interval()} {limits})"


def _attacks(made: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    yield from _membership(made, words)
    attacks = made["attacks"]
    for row in attacks.get("outcomes", []):
        shown = {k: words.numbers.fixed(row[f"of_{k}"], 3) for k in ("training", "others")}
        yield words("Reconstruction"), words(
            "Whoever has all of a record but its outcome, and takes the prediction for it: {metric} {training} among "
            "people of training, {others} among people held out, who chose the number of trees and nothing else."
            if _stopped(made) else
            "Whoever has all of a record but its outcome, and takes the prediction for it: {metric} {training} among "
            "people of training, {others} among people held out, of whom the model has seen nothing.",
            metric=words.label(row["metric"]), **shown,
        )  # fmt: skip
    if not attacks.get("outcomes"):
        yield (
            words("Reconstruction"),
            words("Not tried: no metric was measured both among people of training and among people held out."),
        )
    found = attacks["reconstruction"]
    counted = {key: words.numbers.count(found[key]) for key in ("numbers_left", "values_held")}
    yield (
        words("Reconstruction"),
        words("{numbers_left} numbers left, as sums over all hospitals, about {values_held} values.", **counted),
    )
    yield words("Reconstruction"), (
        words("Sums over bins of small nodes rest on few people: whoever saw all of them, as the coordinator does, may "
              "learn the outcome of some. The released trees rest on enough people in every leaf.")
        if found["word"] == "histograms" else
        words("Changes of weights left in every round, each a sum over hospitals of enough people, and outside the "
              "limit of numbers: parts of records may be rebuilt from them.")
        if found["word"] == "model_weights" else
        words("Each number rests on enough people, and hospitals answer a quarter as many as there are values at most: "
              "too few to solve for them.")
    )  # fmt: skip
    yield from _noise(made.get("noise", {}), words)


def _membership(made: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """The attack that guesses who was trained on; or why none was tried."""
    attacks = made["attacks"]
    for row in attacks["membership"]:
        yield words("Membership"), words(
            "Whoever has a whole record, and guesses by the model's error whether it was trained on, has an AUC of "
            "{auc}. 0.5 is a coin.", auc=_interval(row, words),
        )  # fmt: skip
    gap = {row["sample"]: row["estimate"] for row in made["metrics"] if row["metric"] == "deviance"}
    if not attacks["membership"] and len(gap) == len(GAP):
        yield words("Membership"), words(
            "No attack was tried. The deviance of people held out is {apart} % above that of people of training: the "
            "closer they are, the less a guess by the model's error can be right.",
            apart=words.numbers.fixed(100 * (gap.get("held out", gap.get(GAP[0])) / gap["training"] - 1), 1),
        )  # fmt: skip
    elif not attacks["membership"] and any(_left_out(row) for row in made["metrics"]):
        yield (
            words("Membership"),
            words(
                "Not measured: losses are counted in cells of enough people, of which there are too few: few people "
                "are held out, or many have the same loss. Or the model is not the same in every hospital."
            ),
        )
    elif not attacks["membership"]:
        yield words("Membership"), words("Not measured: nobody was held out whom a guess could be tried on.")


def _left_out(row: Mapping[str, Any]) -> bool:
    """Whether a metric is of people whom the model, or one without their fold, was not learned from."""
    return "held out" in row.get("sample", "") or row.get("sample") == GAP[0]


def _noise(noise: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """What the noise on a network's weights promises."""
    if not noise:
        return
    shown = {name: words.numbers.fixed(noise[name], 2) for name in NOISE[:2] if name in noise}
    yield words("Noise"), words(
        "Of the weights alone, who took part ({unit}) is hidden to an epsilon of {epsilon}, at a delta of {delta}.",
        unit=words.label(noise["privacy_unit"]), epsilon=shown["epsilon"], delta=f"{noise['delta']:g}",
    )  # fmt: skip
    if len(shown) == 2:
        yield (
            words("Noise"),
            words(
                "If one hospital tells the coordinator its noise, the others are hidden to an epsilon of {epsilon}.",
                epsilon=shown["epsilon_if_one_colludes"],
            ),
        )


def _limits(made: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    yield from _warnings(made["limits"]["warnings"], words)
    for note in made["limits"]["notes"]:
        yield words("Note"), told(note, words, made["population"]["k"]).text
    yield (
        words("Other people"),
        words(
            "The metrics are of people like those who were measured. Elsewhere, or later, evaluate it anew: prognosis, "
            "treatment and coding change."
        ),
    )


def _warnings(given: Iterable[Any], words: Words) -> Iterator[tuple[str, str]]:
    for warning in given:
        one = {"text": warning, "code": ""} if isinstance(warning, str) else warning
        yield words("Warning"), said(one["code"], one["text"], words).text


def sheet(result: Result, analysis: Record, words: Words) -> Table:
    """The card as a table: heads, and under them lines of a label and a text."""
    rows, records = [], []
    for head, lines in sections(card(result, analysis), words):
        rows.append(Row((head, ""), "heading"))
        rows += [Row((label, text), "level") for label, text in lines]
        records += [{"section": head, "item": label, "text": text} for label, text in lines]
    columns = (Column(words("Item"), False), Column(words("Says"), False))
    return Table("model_card", words("Model card"), columns, tuple(rows), records)


def markdown(result: Result, analysis: Record, words: Words) -> str:
    """The card of the model of an analysis as a page."""
    return page(card(result, analysis), words)


def page(made: Mapping[str, Any], words: Words) -> str:
    """A card as a page."""
    title = f"# {words('Model card')}{words.colon}{made['model']['name']}\n"
    parts = [
        f"\n## {head}\n\n" + "".join(f"- **{label}**{words.colon}{text}\n" for label, text in lines)
        for head, lines in sections(made, words)
    ]
    return title + "".join(parts)
