"""Who is predicted to benefit, held against people who taught the prediction nothing; the rule, its value, its cards.

Everything comes of sums of scores (`learners`) over classes of the predicted effect (`subgroups.Groups`), b = 1, 2, ...
from the largest benefit on, with shares p_b, mean scores t_b and P_b = p_1 + ... + p_b:

    groups  t_b themselves (GATES: Chernozhukov, Demirer, Duflo & Fernandez-Val, NBER 24678, 2018)
    RATE    how much better the first u of the people do than all, TOC(u) = mean score of the first u - mean score,
            averaged over u (AUTOC) or with weight u (Qini); people of one class are in no order (Yadlowsky, Fleming,
            Shah, Brunskill & Wager, JASA 2025;120:38). Both are smooth functions of shares and sums, and the standard
            error is that of their influence functions, with exact derivatives by complex steps
    value   the mean outcome, were the rule followed: mean of pi S_1 + (1 - pi) S_0 with the scores S of either
            treatment (augmented off-policy value: Dudik, Langford & Li, ICML 2011; Athey & Wager, Econometrica
            2021;89:133)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.distributions import norm_ppf
from confrere.analyses.effects.learners import Regressed
from confrere.analyses.effects.measures import record
from confrere.analyses.effects.nuisance import Fitted, predictor
from confrere.analyses.effects.subgroups import Group, Priced
from confrere.analyses.finding import Record
from confrere.analyses.scaling import Standard
from confrere.rounds import Array, Bools

REASONS = 3  # on a card
UNLIKE = "no advice: unlike the people of the study"
REACH = float(special.ndtri(0.975))


def edges_of(mean: float, sd: float, many: int) -> tuple[float, ...]:
    """Public inner edges of so many classes, as many people in each were they Gaussian; in the unit of mean and sd."""
    return tuple((mean + sd * norm_ppf(np.arange(1, many) / many)).tolist())


class Class(NamedTuple):
    """People with a predicted effect of `low` or more and under `high`; None is no bound."""

    low: float | None
    high: float | None
    people: Group


def classes(edges: Sequence[float], above: Sequence[Group | None], everybody: Group) -> list[Class]:
    """The classes between edges that may be told, in ascending order, from the people at or above each edge.

    An edge that would leave a side without people of either arm is left out: nothing there is compared.
    """
    found: list[Class] = []
    low, rest = None, everybody
    for edge, group in zip(edges, above, strict=True):
        if group is None or not (group.compares and rest.less(group).compares):
            continue
        found.append(Class(low, edge, rest.less(group)))
        low, rest = edge, group
    return [*found, Class(low, None, rest)]


def by_class(found: Sequence[Class], sd: float, reach: float) -> list[Record]:
    """A record per class of predicted effects; `sd` is the unit of the scores, `reach` that of the edges."""
    records: list[Record] = []
    for j, (low, high, people) in enumerate(found, 1):
        effect, se = sd * people.effect, sd * float(np.sqrt(people.variance))
        bounds = [None if edge is None else reach * edge for edge in (low, high)]
        records.append(
            {"group": j, "predicted_from": bounds[0], "predicted_to": bounds[1], "n": round(people.n),
             "treated": round(people.treated), "estimate": effect, "std_error": se, "conf_low": effect - REACH * se,
             "conf_high": effect + REACH * se}
        )  # fmt: skip
    return records


# Ranking ------------------------------------------------------------------------------------------------------


def autoc(p: Any, m: Any) -> Any:
    """The mean of TOC over the people, from shares p (b,) and sums of scores per person m (b,), the best first."""
    before, inside = np.cumsum(m) - m, np.cumsum(p)
    start = inside - p
    # the sums of scores themselves are those of the mean, which is taken off
    parts = (before[1:] - start[1:] * m[1:] / p[1:]) * np.log(inside[1:] / start[1:])
    return parts.sum()


def qini(p: Any, m: Any) -> Any:
    """The mean of u TOC(u)."""
    before = np.cumsum(m) - m
    return (before * p + m * p / 2).sum() - m.sum() / 2


def ranking(found: Sequence[Class], scale: tuple[float, float]) -> list[Record]:
    """AUTOC and Qini with their standard errors; `scale` is the unit of the scores, and the sign of a benefit.

    Empty where there is one class.
    """
    people = [c.people for c in (found[::-1] if scale[1] > 0 else found)]
    if len(people) < 2:
        return []
    n = np.array([g.n for g in people])
    total, sum_ = n.sum(), np.array([g.n * g.effect for g in people])
    p, m, second = n / total, sum_ / total, np.array([g.square for g in people]) / total
    records: list[Record] = []
    for name, of in (("AUTOC", autoc), ("Qini coefficient", qini)):
        if (error := scale[0] * _error(of, (p, m, second), float(total))) > 0:
            records.append(record(name, scale[0] * scale[1] * float(np.real(of(p, m))), error))
    return records


def _error(of: Callable[[Any, Any], Any], at: tuple[Array, Array, Array], n: float) -> float:
    """The standard error of a function of shares and sums, by influences a_b + w_b score of a person in class b."""
    p, m, second = at
    steps = 1e-30j * np.eye(len(p))
    a = np.array([of(p + s, m + 0j).imag / 1e-30 for s in steps])
    w = np.array([of(p + 0j, m + s).imag / 1e-30 for s in steps])
    square = float((p * a**2 + 2 * a * w * m + w**2 * second).sum())
    return float(np.sqrt(max(square - float(p @ a + w @ m) ** 2, 0.0) / n))


# The rule -----------------------------------------------------------------------------------------------------


def chosen(everybody: Group, above: Group, priced: Priced) -> Group:
    """Whom the rule treats: who is predicted at least sign * threshold (`above`), or where less is better, the rest."""
    return above if priced.sign > 0 else everybody.less(above)


def joined(everybody: Group, leaves: Sequence[Group | None], treat: Sequence[bool]) -> Group | None:
    """The people of the leaves that a tree treats, or everybody less the others'; None where neither is told."""
    for which in (True, False):
        parts = [group for group, treated in zip(leaves, treat, strict=True) if treated == which]
        if None not in parts:
            sums = Group(0.0, np.zeros(6))
            for part in parts:
                sums = sums.more(part) if part is not None else sums
            return sums if which else everybody.less(sums)
    return None


def valued(everybody: Group, rules: Mapping[str, Group], priced: Priced, scale: tuple[float, float]) -> list[Record]:
    """Mean outcomes under each rule, under treatment of all and of nobody, and what the rules gain on these two.

    `rules` has the people whom each treats. `scale` is mean and standard deviation of the outcome. Gains are benefits
    less the threshold for each person treated.
    """
    mean, sd = scale
    n = everybody.n
    treated = {f"treat by the {name}": rule for name, rule in rules.items()}
    treated |= {"treat everybody": everybody, "treat nobody": Group(0.0, np.zeros(6))}
    records = []
    for name, rule in treated.items():
        (_, s0, _, s00, _, _), (_, r0, r1, r00, _, r11) = everybody.sums, rule.sums
        total, square = s0 - r0 + r1, s00 - r00 + r11
        records.append(_valued(name, rule.n / n, mean + sd * total / n, sd * _se(total, square, n)))
    for name, rule in rules.items():
        for of, group, sign in (("everybody", everybody.less(rule), -1.0), ("nobody", rule, 1.0)):
            total, square = _net(group, priced, sd)
            records.append(_valued(f"{name} less {of}", None, sign * total / n, _se(total, square, n)))
    return records


def _net(group: Group, priced: Priced, sd: float) -> tuple[float, float]:
    """Sum, and sum of squares, over a group of the benefit less the threshold."""
    t, gain = priced.threshold, priced.gain(group, sd)
    return gain, sd**2 * group.square - 2 * t * gain - t**2 * group.n


def _se(total: float, square: float, n: float) -> float:
    return float(np.sqrt(max(square / n - (total / n) ** 2, 0.0) / n))


def _valued(policy: str, share: float | None, value: float, se: float) -> Record:
    return {"policy": policy, "share_treated": share, "estimate": float(value), "std_error": float(se),
            "conf_low": float(value - REACH * se), "conf_high": float(value + REACH * se)}  # fmt: skip


# Cards --------------------------------------------------------------------------------------------------------


class Card(NamedTuple):
    """The regression that cards are drawn from; public: the model, the variance over its frame, names of its terms."""

    prediction: Fitted
    vcov: tuple[tuple[float, ...], ...]
    names: tuple[str, ...]


def card_of(found: Regressed, names: Sequence[str]) -> Card:
    """As public arguments of the step that draws the cards."""
    return Card(found.prediction, tuple(tuple(row) for row in found.vcov.tolist()), tuple(names))


def cards(card: Card, v: Array, outside: Bools, priced: Priced) -> dict[str, Any]:
    """Of people with modifiers v (n, p - 1): advice, predicted effect with its limits, and reasons.

    Advice is withheld from people `outside` of the data (n,), and where the limits of the effect include the threshold.
    Reasons are the terms that move the prediction most from that of an average person.
    """
    frame = card.prediction.frame
    z = np.column_stack([np.ones(len(v)), Standard(frame.mean, frame.sd).of(v)])
    effect = predictor(v, card.prediction)
    reach = REACH * frame.reach * _spread(z, np.array(card.vcov))
    gain = priced.sign * effect
    told = [outside, gain - reach > priced.threshold, gain + reach < priced.threshold]
    advice = np.select(
        told, ["no advice: unlike the people of the study", "treat", "do not treat"], "no advice: uncertain"
    )
    parts = z[:, 1:] * np.array(card.prediction.beta)[1:] * frame.reach
    order = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :REASONS]
    reasons = [
        "; ".join(f"{card.names[1 + j]}: {row[j]:+.3g}" for j in best) for row, best in zip(parts, order, strict=True)
    ]
    return {
        "advice": advice, "predicted effect": effect, "at least": effect - reach, "at most": effect + reach,
        "reasons": reasons,
    }  # fmt: skip


def _spread(z: Array, vcov: Array) -> Array:
    """Standard errors (n,) of predictions."""
    return np.asarray(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", z, vcov, z), 0.0)))
