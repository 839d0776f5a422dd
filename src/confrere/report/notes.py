"""The fixed sentences of the analyses, in the language of the page.

Analyses write their notes and facts in English. Those that are known are found in the catalogue by their pattern, what
stands in its fields being kept; any other is shown as it stands, and marked as English. "k people" gets its number.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from confrere.report.labels import LABELS
from confrere.report.words import Words


class Told(NamedTuple):
    """A sentence, and whether it is in another language than the page."""

    text: str
    foreign: bool = False


SENTENCES = (
    "Combinations under the rule are hidden, and with them those from which they could be worked out.",
    "What fewer people do than the rule allows is folded into 'other' of the path that it goes on from.",
    "Years, or bands of age, by which too few people differ are told together with their neighbours.",
    "Strata in which too few people are in a state, or have the outcome there, are told together with a neighbour.",
    "Too few people are before or after the exposure, or have the outcome there: the two are told together.",
    "A state in which too few people are, or have the outcome, is not told, nor what compares it with the others.",
    "Labels that fewer people have than the rule allows are hidden, and with them those that would give them away.",
    "held out, to measure on",
    "no bag of {bags}",
    "in another sample",
    "of the other sample",
    "in the fold left out",
    "in the fold",
    "not among the nearest",
    "no features or label",
    "no picture or label",
    "not in {cohort}",
    "not observed in this time",
    "outcome before the time at risk",
    "neither female nor male",
    (
        "Times are coarsened: events and censorings are counted in cells of at least {width} {unit} that hold nobody "
        "or at least k people, and are spread evenly within a cell."
    ),
    "A curve ends with its last cell that has events: how long people were followed beyond it is not known.",
    "Nobody of an arm is followed until {time}: nothing is read off the curves there.",
    "By {time} nobody of an arm has the event: no ratio is told there, and nothing between two such arms.",
    "By {time} nobody of an arm has {cause}: no ratio is told there, and nothing between two such.",
    "Times are exact on the network: the stewards approved the class fine_times.",
    "Nothing is discounted, as the study says.",
    "The ratio of cost to effect has no limits, since the incremental effect may be 0: read the net benefit.",
    "Costs are discounted by {costs} % a year, effects by {effects} %, at the middle of each interval.",
    "One baseline hazard; times are exact on the network: the stewards approved the class fine_times.",
    (
        "One baseline hazard on a grid of times: a time counts as that of its cell, of at least {width} {unit}, in "
        "which nobody or at least k people have the event, and as many do not. Events of one cell are tied."
    ),
    "The model was learned to predict {learned}; here its risks are compared with {here}.",
    "The formula has an offset, which new people have not: no model is delivered that predicts them.",
    "Stratified by hospital: each has its own baseline hazard.",
    "The measures are of odds ratios, which stand for risk ratios only where the outcome is rare.",
    (
        "An arm has less of the outcome than those with neither treatment: RERI, attributable proportion and synergy "
        "index are meant for factors that raise it. Read the difference of differences, or let the arm with the least "
        "be neither."
    ),
    "Coefficients are shrunk by a penalty, and have no standard errors; the debiased ones have.",
    (
        "The curve of cross-validation is that of local quadratic models, exact at the two penalties that it tells; "
        "the fit at the chosen penalty is exact."
    ),
    "The factors of the adaptive lasso come from everybody, also in cross-validation.",
    "Stratified by hospital: people are compared with people of their own hospital.",
    (
        "Adjusted for the score, a hazard ratio is that among people of the same score and hospital, which is another "
        "question than that of everybody in the trial, and further from 1; 'score, of everybody' is the unadjusted "
        "ratio, made surer."
    ),
    (
        "Quantiles are interpolated in cells that hold nobody or at least k people; the exact ones are at most as "
        "far away as the column resolution of the CSV file says."
    ),
    (
        "Subdistribution hazards: whoever had a competing event stays at risk with the probability of not having "
        "been censored since. A ratio above 1 means a higher cumulative incidence; it is no ratio of rates."
    ),
    "Events of other causes than {cause} are censored: ratios are of cause-specific hazards.",
    (
        "People who miss {columns} are left out here too: other analyses of the study leave them out, and two "
        "results that differ by a few people would show those few."
    ),
    (
        "{columns} are described over the people who miss none of them: fewer than {few} people miss one without the "
        "others."
    ),
    "Groups with fewer than {few} people are not shown: {groups}.",
    "Imputed: {columns}; m = {count}.",
    (
        "Missing values were imputed {count} times by chained equations, and the results pooled by Rubin's rules; "
        "this holds if, given the columns of the imputation model, who misses a value does not depend on it."
    ),
    (
        "Nothing was imputed: {columns} is missing for too few people for that; they are left out, and the result is "
        "that of complete rows."
    ),
    "Nobody misses a value of a term: nothing was imputed, and the result is that of complete rows.",
    (
        "Only this table left the hospitals. The rows of the people who are not ruled out stay in each hospital, as a "
        "worklist for its clinicians."
    ),
    "The scores of each person stay in their hospital, as a worklist for its clinicians.",
    "The cards of advice stayed in each hospital; only sums left.",
    "The cluster of each person stays in their hospital, as a worklist for its clinicians.",
    (
        "People are counted per hospital: person ids are each hospital's own, so somebody who was treated in two "
        "hospitals is two people here, and the same id in two hospitals is two people too."
    ),
    (
        "Hazards are taken to be even within {cells} cells of time, {some} of them in the grace period; times at risk "
        "within a cell are exact."
    ),
    (
        "Hazards are taken to be even within {cells} cells of time from the beginning of a trial; times at risk within "
        "a cell are exact."
    ),
    "Whoever starts after the period of a trial stays untreated in it (intention to treat).",
    "Whoever starts after the period of a trial leaves it at the end of that later period (per protocol).",
    "Whoever is treated is taken to go on: nobody is censored for stopping.",
    "Whoever is treated and stops leaves a trial at the end of the period in which they stop.",
    "no entry event",
    "{cohort}: fails '{rule}'",
    "{cohort}: cut off by its censoring",
    "in both cohorts from the same day",
    "{outcome} before the time at risk",
    "no time at risk of {outcome}",
    "with n - 1",
    "type 7, interpolated within cells",
    "ladder of {cells} cells up to {end} {unit}, merged to {merged}",
    "exact times, to {width} {unit}",
    "per hospital",
    "shared",
)


def told(text: str, words: Words, k: int | None = None) -> Told:
    """A note or a fact in the language of `words`; `k` is the least number of people behind a count."""
    for sentence in SENTENCES:
        if match := pattern(sentence).fullmatch(text):
            values = {field: _value(value, words) for field, value in match.groupdict().items()}
            return Told(_counted(words(sentence, **values), k))
    return Told(_counted(text, k), words.lang != "en")


def _value(value: str, words: Words) -> str:
    """What stands in a field: a number or a known word as the language has it."""
    if value.isascii() and value.isdigit():
        return words.numbers.count(int(value))
    return words.label(value) if value in LABELS else value


@cache
def pattern(sentence: str) -> re.Pattern[str]:
    """A sentence, whatever stands in its fields."""
    parts = re.split(r"{(\w+)}", sentence)
    fixed = [re.escape(part) if i % 2 == 0 else f"(?P<{part}>.+?)" for i, part in enumerate(parts)]
    return re.compile("".join(fixed), re.DOTALL)


def _counted(text: str, k: int | None) -> str:
    return text if k is None else re.sub(r"\bk (people|personnes)\b", rf"{k} \1", text)
