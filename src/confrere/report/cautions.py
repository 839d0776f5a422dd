"""Warnings in the language of the page: their sentences by code, and the phrases that stand in the sentences' fields.

Analyses write English. A text is found by its pattern, as notes are; what stands in its fields is said in the language
where it is a known phrase, and numbers are written as the language does. A text that is not known stays as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from confrere.report.labels import LABELS
from confrere.report.notes import Told, pattern
from confrere.report.words import Words

CAUTIONS: dict[str, tuple[str, ...]] = {
    "few-events": (
        "{events} {what} for {terms} terms: {least}",
        "{events} {what} for one term: {least}",
        "In an arm fewer than {least} people have {what}: estimates may be unstable, limits too narrow.",
    ),
    "near-separation": (
        (
            "{terms}: a ratio of more than {apart} to 1, and imprecise. Hardly anybody on one side of it has the "
            "outcome, or lacks it."
        ),
    ),
    "near-collinear": (
        (
            "{terms} nearly determine each other (condition index {index}, above {most}): their single estimates are "
            "imprecise and depend on small changes."
        ),
    ),
    "not-proportional": (
        (
            "Hazard ratios change over {scale}: global test {p}, corrected for {tests} tests; {which}. A single ratio "
            "is an average over follow-up."
        ),
    ),
    "hazards-not-tested": ("Proportional hazards were not tested: {why}.",),
    "overdispersion": (
        "The {what} vary {ratio} times as much as the model says: standard errors are too small. Set robust.",
    ),
    "coarse-curve": ("{where}. Within a cell times are not known.",),
    "coarse-test": (
        (
            "A group has only {fewest} cells of events, so the test is approximate. Exact: baseline = {hospital}, or "
            "fine_times if the stewards allow it."
        ),
    ),
    "hospitals-left-out": (
        "{few} of {asked} hospitals {have} fewer than {k} people for this and {take} part with nothing.",
    ),
    "clamped-values": ("{columns}: some values outside the declared range were set to its nearer end.",),
    "high-fmi": (
        (
            "{terms}: more than half of the information is missing (fmi above {high}), so that the estimate rests on "
            "the imputation model. Impute more often, and read the result as weak."
        ),
    ),
    "few-imputations": ("{m} imputations: fewer than {least}, so that limits and p-values depend much on the draws.",),
    "chains-not-mixed": ("{columns}: the chains lie apart (rhat above {most}). Ask for more iterations.",),
    "positivity": (
        (
            "{share} of the people have a propensity under {low} or over {high}: hardly anybody like them had the "
            "other treatment. Set trim, or ask for the overlap population (estimand ATO)."
        ),
    ),
    "trim-moved": (
        (
            "People were trimmed at propensities {low} and {high}, not {wanted} and {other}: too few of an arm lie "
            "beyond these to be told from the others."
        ),
    ),
    "imbalance": (
        (
            "After weighting the arms still differ in {apart} of {terms} terms by more than {most} standard "
            "deviations: {which}. Add squares, splines or interactions of them to the confounders."
        ),
    ),
    "extreme-weights": (
        (
            "The weights leave {share} of the information of the {arm}: a few people count for many. Set trim or "
            "truncate, or ask for the overlap population (estimand ATO)."
        ),
        (
            "The weights leave {share} of the information of those who have {arm}: a few people count for many. Set "
            "truncate."
        ),
        (
            "The weights leave {share} of the information of those {arm}: a few people count for many. Choose another "
            "grace period, or people who might do either."
        ),
        (
            "The weights leave {share} of the information of the {arm}: a few people count for many. Set truncate, "
            "take the estimand ATT or ATO, or longer periods."
        ),
    ),
    "diagnostics-failed": (
        "The study's diagnostics do not pass: {failed}. The estimate is not to be used as it stands.",
    ),
    "unchecked-time-zero": (
        (
            "The hospitals have tables of their own: that eligibility, treatment and confounders are decided by time "
            "zero, and people followed from it, is as the study says, and nobody has checked it."
        ),
    ),
    "immortal-time": (
        (
            "Who is eligible is known only after time zero ({which}): whoever dies, leaves or has the outcome before "
            "is left out, so that those who stay seem to do better than they do."
        ),
    ),
    "per-protocol": (
        (
            "The target trial asks for the effect of keeping to a strategy. The analyses compare people by what they "
            "had at time zero, whatever they took later: that is the effect of being assigned to it."
        ),
    ),
    "other-estimand": (
        (
            "The target trial asks for the {estimand}. About other people are {others}: do not pool them, nor expect "
            "the same number."
        ),
    ),
    "apparent-performance": (
        (
            "The metrics are of the very people on whom the model was trained, and too good. Name the person's column, "
            "and a share of the people is held out."
        ),
        (
            "The metrics are of the very people on whom the model was trained, and too good. Set holdout = 0.2, and a "
            "fifth of the people is held out."
        ),
    ),
    "still-learning": (
        (
            "The training loss still fell in the last of {rounds} rounds, by {share} of all that it fell. Set more "
            "rounds or steps, as long as people held out are predicted better by it."
        ),
        (
            "The training loss rose from {first} in the first round to {last} in the last. Set a smaller "
            "learning_rate, or fewer steps."
        ),
    ),
    "near-chance": (
        (
            "{metric}, {whom}: {area} ({low} to {high}). That the network orders people better than a coin, 0.5, is "
            "not shown."
        ),
    ),
    "membership-attack": (
        (
            "The model tells whom it was trained on: an attacker who has a whole record guesses with an AUC of {auc}, "
            "where 0.5 is a coin. Do not release it: train fewer or shallower trees, or a smaller network for fewer "
            "rounds, with a larger penalty."
        ),
    ),
    "reconstruction-attack": (
        (
            "The model gives back outcomes that it was trained on: its {metric} is {trained} among people of training, "
            "{others} among people held out. Do not release it: train fewer or shallower trees, or a smaller network "
            "for fewer rounds, with a larger penalty."
        ),
    ),
    "model-drift": (
        ("Since {name} there is {names}. Evaluate the model among the people of today, and recalibrate or replace it."),
    ),
    "trees-as-known": (
        (
            "Standard errors take the trees of the propensity as known, and say nothing of their bias: the limits hold "
            "the truth less often than they say. Take estimator = 'aipw' with folds = 5."
        ),
    ),
    "inputs-not-told": (
        (
            "The distribution of {names} is not told: beside that of the risk, or of another input, it would tell a "
            "few people apart, or there are too many cells to see whether it does. Take fewer or other cuts, or an "
            "evaluation in a study of its own."
        ),
    ),
    "coarse-score": (
        (
            "{names}: the cells of scores are too coarse for an area under the curve or a concordance, which are "
            "not told: {share} of the pairs of people would be in one cell, or in two that overlap. Ask more people, "
            "or about everybody without subgroups."
        ),
        (
            "{names}: the cells of scores are coarse. Up to {share} of the pairs of people are in one cell, or in two "
            "that overlap, so that the area or concordance may be off, and is mostly too low. Ask more people, or "
            "about everybody without subgroups."
        ),
        (
            "{names}: the cells of scores are coarse. Up to {share} of the pairs of people are in one cell, or in two "
            "that overlap, so that the area or concordance may be off, and is mostly too low. Over 15 %, it has no "
            "limits. Ask more people, or about everybody without subgroups."
        ),
        (
            "{names}: the cells of the learned model's risks are too coarse to say how large these are. Mean "
            "predicted risk, observed over expected, Brier score and calibration are not told. Ask more people, or "
            "about everybody without subgroups or periods; or have hospitals predict, and evaluate the column."
        ),
        (
            "Whether {names} moved cannot be seen: the cells were merged into one, since a period has few people of "
            "some kind in each. Ask more people, or fewer and longer periods, or an outcome without follow-up."
        ),
        (
            "{names}: the cells of gaps are coarse. {share} of the pairs of people are in one cell, so that the "
            "intercepts and the slope may be off by more than their limits say. Ask more people."
        ),
    ),
    "few-to-calibrate": (
        (
            "{name}: too few people are held out to say when it is not the class at alpha = {p}, so that it is in "
            "every set. Hold out more people, or take a larger alpha."
        ),
    ),
    "few-to-validate": (
        ("{n} people have the rarer outcome: with fewer than 100 a validation is imprecise, calibration above all."),
        ("{n} people have the event: with fewer than 100 a validation is imprecise, calibration above all."),
    ),
    "parallel-trends": (
        (
            "Before treatment, groups and their controls changed differently ({p}): they may have gone on to, and then "
            "the difference is no effect of the treatment."
        ),
    ),
    "short-follow-up": (
        (
            "In an arm only {share} % would be followed until the horizon: a few people stand for many. Choose an "
            "earlier horizon."
        ),
    ),
    "weak-score": (
        (
            "In an arm the score and the outcome have a correlation of {r}: the trial's people are not those the model "
            "was learned from, or nothing is known that foretells the outcome. Adjusting for it gains nothing."
        ),
        (
            "In an arm the score and the outcome have a correlation of {r}: the score foretells the opposite of what "
            "happens. The effect adjusted for it holds, and may be surer; its model does not hold for the trial's "
            "people. Are outcome and terms coded alike in and outside the trial?"
        ),
    ),
    "not-converged": ("{why}. The clusters are those of that round. {remedy}.",),
}
PHRASES = (
    "{names} and {count} more",
    "and {count} more",
    "people have the rarer outcome,",
    "the rarer outcome",
    "the event",
    "log time",
    "most clearly {names}",
    "no single term stands out",
    "all events fall into one cell of time",
    "a study answers a limited number of numbers about {n} people, and the fit needs them",
    "shares",
    "Curves of few cells with events: {curves}",
    "the {what} of {curve} lies in a cell from {low} to {high} {unit}",
    "around the {what}, censorings of {curve} lie in a cell from {low} to {high} {unit}",
    "{what} and time {time}",
    "time {time}",
    "median",
    "has",
    "have",
    "takes",
    "take",
    "{diagnostic} is {value} (threshold {threshold})",
    "not told",
    "{name} from day {day}",
    "fewer than {least} per term, estimates may be unstable and too far from 0.",
    "drift of {what} in {name}",
    "everybody",
    "neither treatment",
    "both treatments",
    "{name} alone",
    "The gate told round {round} and no other: {why}",
    "The study's budget of numbers ended the rounds after {round}",
    "A study of this method has no more than {rounds} rounds",
    "after it, too few people would change cluster to be told",
    "some class would rest on a few people, or on a few of one hospital",
    "Other people, or other starts, may give other clusters; ask about more people, or for fewer clusters",
)
OWN = {"curve", "name"}  # fields of names that a study or its data give; in others they stand between marks
_BETWEEN = re.compile(r"(\. (?=[A-Z])|; |(?<=\)), )")
_NUMBER = re.compile(r"('[^']*')|(?<![\w.])(-?(?:\d{1,3}(?:,\d{3})+|\d+\.\d+|\d+(?=%)))(%?)(?![\w.]\w)")


def said(code: str, text: str, words: Words) -> Told:
    """The text of a warning in the language of the page; as it stands, and foreign, where it is not known."""
    if words.lang == "en":
        return Told(text)
    found = _as_one_of(CAUTIONS.get(code, ()), text, words)
    return Told(text, foreign=True) if found is None else Told(found)


def _as_one_of(sentences: Iterable[str], text: str, words: Words) -> str | None:
    for sentence in sentences:
        if match := pattern(sentence).fullmatch(text):
            values = {f: v if f in OWN else _value(v, words) for f, v in match.groupdict().items()}
            return words(sentence, **values)
    return None


def _value(value: str, words: Words) -> str:
    """What stands in a field: one phrase, or several one after the other."""
    if value in PHRASES:
        return words(value)
    return "".join(part if i % 2 else _phrase(part, words) for i, part in enumerate(_BETWEEN.split(value)))


def _phrase(text: str, words: Words) -> str:
    """A known word or phrase, also one that begins a sentence, in the language; of any other text the numbers."""
    if text in LABELS:
        return words.label(text)
    for known in (text, text[:1].lower() + text[1:]):
        if (found := _as_one_of(PHRASES, known, words)) is not None:
            return found if known == text else found[:1].upper() + found[1:]
    return _NUMBER.sub(lambda m: m[1] or _number(m[2], bool(m[3]), words), text)


def _number(text: str, share: bool, words: Words) -> str:
    """The same digits, with the marks of the language."""
    plain = text.replace(",", "")
    digits = len(plain.partition(".")[2])
    return words.numbers.percent(float(plain) / 100, digits) if share else words.numbers.fixed(float(plain), digits)
