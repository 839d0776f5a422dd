"""What a view identifies of whom. The attacker knows the flow, its arguments, every total and every verdict.

Structure. A total that is a plain sum over people is a row of weights; rows can be subtracted from one another. A
row, or a difference of two, that rests on 1 to k-1 people tells about these few. The leverage
diag(M+ M) of a person is the share of its own column that all rows together determine.

Smooth. Locally the view tells of the data what its Jacobian's row space contains. V (n d, r) is an orthonormal basis;
the block V_i V_i' (d, d) of a person has eigenvalues between 0 (nothing) and 1 (known); its smallest is the identified
share: how far even the best hidden direction of this person's row is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from attacks.people import Table, pooled
from attacks.view import View
from confrere.testing.membership import Auc, membership_auc

STEP = 2e-4  # standard deviations; times lie a day apart, which is more
CUT = 1e-8  # relative singular values that still count


# Structure ----------------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """Weights (m, n) of the additive numbers of a view over the people, by label."""

    weights: np.ndarray
    labels: list[str]


def rows(view: View) -> Rows:
    """The weights of every total that is a plain sum over people, found by leaving one person out at a time."""
    blocks, base = [], view.values
    for name, table in view.tables.items():
        n = len(table.frame)
        if name not in view.part_in:
            blocks.append(np.zeros((base.size, n)))
            continue
        whole = view.of_site(table)
        blocks.append(np.array([whole - view.of_site(_without(table, i)) for i in range(n)]).T.reshape(base.size, n))
    m = np.hstack(blocks)
    size = np.abs(m).sum(axis=1) + np.abs(base)
    plain = np.abs(m.sum(axis=1) - base) <= 1e-7 * size
    counted = [view.people(name) for name in view.tables]
    said = [np.concatenate([c[j][1] for c in counted]) for j in range(len(counted[0]))]
    labels = [label for label, keep in zip(view.labels, plain, strict=True) if keep]
    weights = np.vstack([m[plain], *said])
    return Rows(_clean(weights), labels + [label for label, _ in counted[0]])


def _without(table: Table, i: int) -> Table:
    return Table(table.frame.drop(index=i).reset_index(drop=True))


def _clean(m: np.ndarray) -> np.ndarray:
    """Rounding of the subtraction taken off: differences of equal weights become exactly 0."""
    size = np.abs(m).max(axis=1, keepdims=True)
    return np.where(np.abs(m) <= 1e-9 * size, 0.0, m)


def resting_on_few(r: Rows, k: int) -> list[tuple[str, int]]:
    """Rows, and differences of two, that rest on 1 to k-1 people: (what, people).

    A row may be multiplied by the weight that most people have in it before a number of people is taken off: of a
    column of ones and some twos, sum less n is the number of twos.
    """
    found = [(label, int(c)) for label, c in zip(r.labels, (r.weights != 0).sum(axis=1), strict=True) if 0 < c < k]
    for i, label in enumerate(r.labels):
        found += _few(label, r.weights[i], r.weights[i + 1 :], r.labels[i + 1 :], k)
        people = [j for j, name in enumerate(r.labels) if name.endswith(": n")]
        usual = _usual(r.weights[i])
        if usual not in (0.0, 1.0):
            said = [f"{usual:g} {r.labels[j]}" for j in people]
            found += _few(label, r.weights[i], usual * r.weights[people], said, k)
    return found


def _few(label: str, row: np.ndarray, others: np.ndarray, labels: Sequence[str], k: int) -> list[tuple[str, int]]:
    people = (_apart(row, others) != 0).sum(axis=1)
    return [(f"{label} - {other}", int(c)) for other, c in zip(labels, people, strict=True) if 0 < c < k]


def _apart(row: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Differences, exactly 0 where they are rounding, or tiny beside the same difference of others.

    Rows that are alike to a millionth throughout are one sum at two arguments a hair apart: smooth, not structure.
    """
    d = row - others
    largest = np.abs(d).max(axis=1, keepdims=True, initial=0.0)
    floor = np.where(largest <= 1e-6 * np.abs(row).max(initial=0.0), np.inf, 1e-5 * largest)
    return np.where(np.abs(d) <= floor, 0.0, d)


def _usual(row: np.ndarray) -> float:
    """The weight that more than half of those have who are in the row at all; 0 if there is none."""
    inside = row[row != 0]
    middle = float(np.median(inside)) if inside.size else 0.0
    return middle if 2 * np.isclose(inside, middle).sum() > inside.size else 0.0


def counts(r: Rows) -> Rows:
    """The rows whose weights are the same public number for all whom they count: cells and numbers of people."""
    flat = [bool(np.isin(w, (0.0, np.abs(w).max(initial=0.0))).all()) for w in r.weights]
    return Rows(r.weights[flat], [label for label, f in zip(r.labels, flat, strict=True) if f])


def leverage(m: np.ndarray) -> np.ndarray:
    """diag(M+ M) (n,): the share of each person's column in the space of the rows."""
    size = np.linalg.norm(m, axis=1, keepdims=True)
    _, s, vt = np.linalg.svd(m[size[:, 0] > 0] / size[size[:, 0] > 0], full_matrices=False)
    return np.asarray(np.square(vt[s > CUT * s.max(initial=0.0)]).sum(axis=0))


# Smooth -------------------------------------------------------------------------------------------------------


class Jacobian(NamedTuple):
    """d view / d values (m, n, d), per standard deviation of the `columns`."""

    matrix: np.ndarray
    columns: tuple[str, ...]


def jacobian(view: View, columns: Sequence[str]) -> Jacobian:
    """Derivatives of every total by every value of `columns`, by central differences of one hospital's part.

    Whoever a column is missing for has no influence through it.
    """
    frame = pooled(view.tables)
    step = {c: STEP * float(frame[c].std()) for c in columns}
    blocks = []
    for name, table in view.tables.items():
        n = len(table.frame)
        if name not in view.part_in:
            blocks.append(np.zeros((view.values.size, n, len(columns))))
            continue
        moves = _moves(view, table, step)
        blocks.append(np.where(moves, _differences(view, table, step), 0.0))
    return Jacobian(np.concatenate(blocks, axis=1), tuple(columns))


def _differences(view: View, table: Table, step: dict[str, float]) -> np.ndarray:
    out = [
        [
            (view.of_site(_moved(table, i, c, h)) - view.of_site(_moved(table, i, c, -h))) / (2 * STEP)
            for c, h in step.items()
        ]
        for i in range(len(table.frame))
    ]
    return np.moveaxis(np.array(out), 2, 0)


def _moves(view: View, table: Table, step: dict[str, float]) -> np.ndarray:
    """Which numbers move with the values at all (m, 1, 1): ranks and cells stay nearby, and jump further off."""
    rng = np.random.default_rng(0)
    nearby = table.frame.copy()
    for c, h in step.items():
        nearby[c] = nearby[c] + 1e-5 * h * rng.choice([-1.0, 1.0], len(nearby))
    one, two = view.of_site(table), view.of_site(Table(nearby))
    return (np.abs(two - one) > 1e-13 * np.maximum(np.abs(one), 1e-12))[:, None, None]


def _moved(table: Table, i: int, column: str, by: float) -> Table:
    values = table.frame[column].to_numpy(copy=True)
    values[i] += by
    return Table(table.frame.assign(**{column: values}))


def identified(j: Jacobian, known: Sequence[str] = ()) -> np.ndarray:
    """Identified share of each person (n,), of the values the view depends on, to one who knows the columns `known`."""
    keep = [i for i, c in enumerate(j.columns) if c not in known and np.abs(j.matrix[:, :, i]).max(initial=0.0) > 0]
    m, n, d = j.matrix.shape[0], j.matrix.shape[1], len(keep)
    if not d or not m:
        return np.zeros(n)
    flat = j.matrix[:, :, keep].reshape(m, n * d)
    size = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = flat[size[:, 0] > 0] / size[size[:, 0] > 0]
    s, vt = _right(flat)
    v = vt[s > CUT * s.max(initial=0.0)].reshape(-1, n, d)
    return np.asarray(np.linalg.eigvalsh(np.einsum("rna,rnb->nab", v, v))[:, 0])


def _right(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, s, vt = np.linalg.svd(flat, full_matrices=False)
    return s, vt


# Membership ---------------------------------------------------------------------------------------------------


def membership(view: View, fresh: pd.DataFrame, sample: int = 60, worlds: int = 40) -> Auc:
    """AUC of telling members from others of the same population, to one who knows the whole row of a person.

    The attacker draws hospitals from `fresh` to learn what the view is expected to be and how a person moves it,
    and scores each candidate by the covariance-weighted product of its own push with the view's deviation.
    """
    rng = np.random.default_rng(5)
    names = [name for name in view.tables if name in view.part_in]
    draws = np.array([_drawn(view, fresh, names, rng) for _ in range(worlds)])
    members = pooled({n: view.tables[n] for n in names})
    inside = members.iloc[rng.choice(len(members), min(sample, len(members)), replace=False)]
    outside = fresh.iloc[rng.choice(len(fresh), sample, replace=False)]
    size = len(view.tables[names[0]].frame)
    home = fresh.sample(size, random_state=3).reset_index(drop=True)
    base = view.of_site(Table(home))
    push = [np.array([_pushed(view, home, p, i) - base for i in range(len(p))]) for p in (inside, outside)]
    deviation, spread = view.values - draws.mean(axis=0), push[1] - push[1].mean(axis=0)
    unit = np.where(spread.std(axis=0) > 0, spread.std(axis=0), np.inf)
    covariance = (spread / unit).T @ (spread / unit) / len(spread) * len(members)
    scorer = np.linalg.solve(covariance + 0.1 * len(members) * np.eye(len(unit)), deviation / unit)
    scores = [((p - push[1].mean(axis=0)) / unit) @ scorer for p in push]
    return membership_auc(-scores[0], -scores[1])


def _drawn(view: View, fresh: pd.DataFrame, names: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    parts = []
    for name in names:
        rows_of = fresh.iloc[rng.choice(len(fresh), len(view.tables[name].frame), replace=False)]
        parts.append(view.of_site(Table(rows_of.reset_index(drop=True))))
    return np.asarray(np.sum(parts, axis=0))


def _pushed(view: View, home: pd.DataFrame, people: pd.DataFrame, i: int) -> np.ndarray:
    return view.of_site(Table(pd.concat([home, people.iloc[[i]]], ignore_index=True)))
