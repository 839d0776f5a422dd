"""Networks over hospitals: what leaves, what stays, what repeats, what noise does, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from torch import nn

from confrere.analyses.learning.state import mixed
from confrere.analyses.networks import catalogue, network, privacy, training
from confrere.analyses.networks.catalogue import Kind, Sizes
from confrere.analyses.networks.model import Net
from confrere.analyses.networks.network import Network
from confrere.console.local import Local
from confrere.errors import ConfrereError, DataError, ModelError, RangeError, StudyError
from confrere.hospital.gate import Gate, Policy, Violation
from confrere.rounds import Ask, People, Site, Sum, drive
from confrere.study import build
from confrere.study.ground import Ground
from confrere.testing import SCHEMA
from confrere.testing.people import patients
from federate import LOOSE, fit, flow_of, found, in_the_clear, masked, table

GROUND = Ground(SCHEMA)
KNOWN = replace(GROUND, person="pid")
ALLOW = ("model_weights",)


def people(n: int = 400, seed: int = 4) -> pd.DataFrame:
    return patients(n, seed).assign(pid=[f"p{i}" for i in range(n)])


def hospitals(n: int = 400, *sizes: int) -> list[pd.DataFrame]:
    frame, ends = people(n), np.cumsum(sizes or (n // 2, n // 4, n // 4))
    return [frame.iloc[low:high] for low, high in zip((0, *ends), ends, strict=False)]


def make(outcome: str = "ill", features: str = "x1 + x2 + treated", **settings: Any) -> Network:
    return Network(outcome, features, **({"ground": GROUND, "rounds": 4, "learning_rate": 0.5} | settings))


def weights(analysis: Network, frames: list[pd.DataFrame] | None = None) -> np.ndarray:
    return np.asarray(fit(analysis, frames or hospitals(), LOOSE).arrays["weights"])


MLP = {"module": "mlp", "settings": {"hidden": (4,), "dropout": 0.2}}


# What leaves and what repeats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{}, {"strategy": "scaffold", "batch": 32}, {"strategy": "fedadam", **MLP}])
def test_masked_equals_clear_to_the_rings_resolution(kind: dict[str, Any]) -> None:
    frames = hospitals()
    run = found(masked(make(**kind), dict(zip("abc", frames, strict=True)), allow=ALLOW))
    assert run.arrays["weights"] == pytest.approx(weights(make(**kind)), abs=1e-13)


@pytest.mark.parametrize("kind", [{"batch": 16, **MLP}, {"batch": 16, "epochs": 2, "precision": "single", **MLP}])
def test_a_seed_gives_the_same_run_and_another_seed_another(kind: dict[str, Any]) -> None:
    one = weights(make(**kind))
    assert np.array_equal(one, weights(make(**kind)))
    assert not np.allclose(one, weights(make(**kind, seed=2)))


def test_batches_depend_on_the_deal_and_one_full_step_does_not() -> None:
    frame = people()
    deals = [[frame.iloc[i::3] for i in range(3)], hospitals()]
    one, other = (weights(make(steps=1), deal) for deal in deals)
    assert one == pytest.approx(other, abs=1e-12)
    one, other = (weights(make(epochs=5, batch=16), deal) for deal in deals)
    assert np.abs(one - other).max() > 1e-4


def test_a_large_model_leaves_in_pieces_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weights(make(strategy="scaffold", **MLP))
    monkeypatch.setattr(network, "PIECE", 6)
    cut = make(strategy="scaffold", **MLP)
    assert cut.pieces == 4
    assert np.array_equal(weights(cut), whole)


def test_rounds_that_run_again_leave_hospitals_as_they_were() -> None:
    """So a run is taken up again: steps run once more, in their order, with the totals that were learned."""
    analysis = make(strategy="scaffold", batch=32, personal=("out",), **MLP)
    whole, kept = weights(analysis), []
    rounds = 0
    live = in_the_clear(hospitals(), LOOSE)

    def dies(asks: Any) -> Any:
        nonlocal rounds
        rounds += 1
        if rounds == 5:
            raise KeyboardInterrupt
        kept.append(live(asks))
        return kept[-1]

    with pytest.raises(KeyboardInterrupt):
        drive(flow_of(analysis), dies)
    fresh, known = in_the_clear(hospitals(), LOOSE), iter(kept)

    def again(asks: Any) -> Any:
        own = fresh(asks)  # which trains, and of which nothing is sent
        return next(known, own)

    assert np.array_equal(drive(flow_of(analysis), again).arrays["weights"], whole)


def test_two_networks_of_a_study_keep_their_states_apart() -> None:
    frames = dict(zip("abc", hospitals(), strict=True))
    counts = {"outcome": "visits", "objective": "poisson", "fine_tune": 2}  # of which no cells of scores are told
    one, other = make(**counts, seed=1), make(**counts, seed=2, **MLP)
    study = build.single(one, GROUND, allow=ALLOW)
    spec = replace(
        study.analyses[0], name="other", settings=build.single(other, GROUND, allow=ALLOW).analyses[0].settings
    )
    both = Local(frames, GROUND).run(replace(study, analyses=(*study.analyses, spec)))
    for name, analysis in (("network", one), ("other", other)):
        alone = masked(analysis, frames, allow=ALLOW)["network"].finding
        assert both[name].finding.tables["metrics"] == alone.tables["metrics"]


# The gate -----------------------------------------------------------------------------------------------------


def test_the_study_must_allow_the_class() -> None:
    with pytest.raises(ConfrereError, match="'model_weights': the weights of a network leave each round"):
        masked(make(), dict(zip("abc", hospitals(), strict=True)))


def test_a_hospital_with_fewer_than_4_k_people_takes_part_with_nobody() -> None:
    frames = hospitals(400, 150, 120, 90, 40)
    got = found(masked(make(), dict(zip("abcd", frames, strict=True)), allow=ALLOW))
    assert (got.n, got.hospitals) == (360, 3)
    assert [w.code for w in got.warnings if w.code == "hospitals-left-out"]
    assert got.arrays["weights"] == pytest.approx(weights(make(), frames[:3]), abs=1e-12)


def in_one_study(*analyses: Network) -> Any:
    """A study of several networks."""
    study = build.single(analyses[0], KNOWN, allow=ALLOW)
    specs = [
        replace(build.single(one, KNOWN, allow=ALLOW).analyses[0], name=f"network {i}")
        for i, one in enumerate(analyses)
    ]
    return replace(study, analyses=tuple(specs))


def test_a_sample_of_few_people_is_refused_before_anything_leaves() -> None:
    hospitals_of = dict(zip("abc", hospitals(1200), strict=True))
    with pytest.raises(ConfrereError, match=r"network \(parted\): fewer than 11 people are on one side of 'held"):
        Local(hospitals_of, KNOWN).run(in_one_study(make(holdout=0.003, ground=KNOWN)))


def test_who_is_held_out_is_of_three_hospitals() -> None:
    """What is told of them would be the large hospital's, to each of the others."""
    frames = hospitals(1200, 1100, 50, 50)
    out = [mixed(People(None).words("network", f["pid"], shared=True), 3, -1) < 0.03 for f in frames]
    assert 0 < sum(bool(o.any()) for o in out) < 3
    with pytest.raises(ConfrereError, match=r"network \(parted\): 'held out' has people in . hospitals? only"):
        masked(make(holdout=0.03, seed=3, ground=KNOWN), dict(zip("abc", frames, strict=True)), allow=ALLOW)


@pytest.mark.parametrize("kind", [{"outcome": "Surv(time, event)"}, {"personal": ("out",), **MLP}, {"fine_tune": 1}])
def test_few_held_out_are_refused_before_a_round_of_training(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.Client, "train", lambda *_: pytest.fail("a hospital trained"))
    analysis = make(ground=KNOWN, holdout=0.01, **kind)
    frames = dict(zip("abcdefgh", hospitals(960, *[120] * 8), strict=True))
    with pytest.raises(ConfrereError, match=r"network \(parted\): cells 'samples': some rest on fewer than 11"):
        masked(analysis, frames, allow=ALLOW)


@pytest.mark.parametrize("kind", [{"outcome": "Surv(time, event)"}, {"fine_tune": 1}])
def test_who_trains_is_measured_however_few_are_held_out_there(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left out of those measured, a hospital's own would be the people of all less who trains and who is measured."""
    judged: dict[str, int] = {}
    settle = Gate.settle

    def noted(gate: Gate, a: Ask, *rest: Any) -> Any:
        verdict = settle(gate, a, *rest)
        judged.setdefault(a.step, verdict.n)  # the first design is of who trains
        return verdict

    monkeypatch.setattr(Gate, "settle", noted)
    analysis = make(ground=KNOWN, holdout=0.1, **kind)
    frames = dict(zip("abcdefgh", hospitals(960, *[290] * 3, *[18] * 5), strict=True))
    assert found(masked(analysis, frames, allow=ALLOW)).hospitals == 3
    assert judged["parted"] == judged["design"] + judged["held"]
    assert judged["held"] < 3 * 44  # so that each hospital has fewer than 4 k held out


def test_those_held_out_are_of_three_hospitals_with_enough_of_them() -> None:
    """One hospital holds out some thirty people, two a few each: their sum would be all but its own."""
    analysis = make("Surv(time, event)", ground=KNOWN, holdout=0.1)
    frames = dict(zip("abc", hospitals(420, 300, 60, 60), strict=True))
    with pytest.raises(ConfrereError, match=r"network \(held\): 1 hospital has at least 11 people"):
        masked(analysis, frames, allow=ALLOW)


@pytest.mark.parametrize("other", [{"holdout": 0.3}, {"holdout": 0.2, "seed": 2}, {"holdout": 0.0}])
def test_networks_of_a_study_hold_out_the_same_people(other: dict[str, Any]) -> None:
    one = make(holdout=0.2, ground=KNOWN)
    with pytest.raises(StudyError, match="hold out other people"):
        build.analyses(in_one_study(one, make(ground=KNOWN, **other)))
    with pytest.raises(StudyError, match="both count people by cell of a model's score"):
        build.analyses(in_one_study(one, make(holdout=0.2, ground=KNOWN, **MLP)))


def test_the_gate_stops_weights_that_rest_on_fewer() -> None:
    gate = Gate(Policy(allow=frozenset(ALLOW)), 3)
    a = Ask(make(), "update", ((0, 0), np.zeros(4), np.zeros(0), None))
    gate._about[a.analysis, "design", ""] = 400
    sums = network.Update(Sum(np.zeros((1, 4)), ("kinds", "parameters"), (1, 4), needs="model_weights"),
                          Sum(np.zeros(1), ("loss",), (1,)))  # fmt: skip
    gate.admit(a, sums, 44)
    gate.admit(a, sums, 0)
    with pytest.raises(Violation, match="rests on fewer than 44 people here"):
        gate.admit(a, sums, 43)
    assert Policy().enough == 11
    assert Policy(k=20, allow=frozenset(ALLOW)).enough == 80


def test_the_hospital_clips_and_what_was_not_clipped_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = make(learning_rate=100.0, clip=0.5, rounds=1, epochs=5)
    moved = weights(wild) - wild.begins
    assert np.linalg.norm(moved) <= 0.5 + 1e-12
    assert np.linalg.norm(moved) > 0.1
    monkeypatch.setattr(training, "clipped", lambda change, most: change)
    with pytest.raises(ConfrereError, match="larger than its step says"):
        masked(wild, dict(zip("abc", hospitals(), strict=True)), allow=ALLOW)


# Personal layers, adapting ------------------------------------------------------------------------------------


def test_personal_layers_stay_and_are_measured_where_they_are() -> None:
    analysis = make(personal=("out",), module="mlp", settings={"hidden": (4,)}, rounds=10)
    got = fit(analysis, hospitals(), LOOSE)
    mine = ~analysis.plan_mask
    assert mine.sum() == 5
    assert np.array_equal(got.arrays["weights"][mine], analysis.begins[mine])
    assert not np.allclose(got.arrays["weights"][~mine], analysis.begins[~mine])
    (row,) = got.tables["metrics"]
    assert row["sample"] == "training, adapted to each hospital"
    assert row["estimate"] < np.log(2)
    with pytest.raises(StudyError, match="stayed in each hospital"):
        Net.of(replace(got, analysis=analysis)).score(np.zeros((1, 3)))


def test_adapting_helps_where_hospitals_differ() -> None:
    frames = [f.assign(ill=(f["ill"] if i else 1 - f["ill"])) for i, f in enumerate(hospitals(1200))]
    got = fit(make(fine_tune=40, rounds=20), frames, LOOSE)
    shared, adapted = (r["estimate"] for r in got.tables["metrics"] if r["metric"] == "loss")
    assert adapted < shared - 0.01


# Noise --------------------------------------------------------------------------------------------------------


def test_noise_of_hospitals_is_of_the_size_that_is_promised() -> None:
    noise = privacy.gaussian(200_001, b"k" * 32, 7)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert np.array_equal(noise, privacy.gaussian(200_001, b"k" * 32, 7))
    assert abs(np.corrcoef(noise, privacy.gaussian(200_001, b"k" * 32, 8))[0, 1]) < 0.01
    quiet, loud = (make(rounds=1, steps=1, privacy=p, clip=0.1) for p in (1e-9, 2.0))
    apart = weights(loud) - weights(quiet)
    assert 0 < np.abs(apart).max() < 5 * 2.0 * 0.1 / 3


def test_noise_is_the_same_when_it_is_asked_again_and_differs_between_hospitals() -> None:
    frames = dict(zip("abc", hospitals(), strict=True))
    one, other = (found(masked(make(privacy=1.0), frames, allow=ALLOW)) for _ in range(2))
    assert np.array_equal(one.arrays["weights"], other.arrays["weights"])
    assert one.facts["epsilon"] == pytest.approx(privacy.epsilon(1.0, 4, 1e-5))
    assert one.facts["epsilon_if_one_colludes"] == pytest.approx(privacy.epsilon((2 / 3) ** 0.5, 4, 1e-5))
    assert one.tables["training"] == []


def test_who_takes_a_known_part_of_the_noise_off_has_less_before_them() -> None:
    """By hand: of 4 hospitals each adds a variance of z^2 / 4, so that 3/4 is left without one of them, and nothing
    without all. At the order 2 one round of z = 1 is 2 / (2 z^2) = 1, and 4/3 where 3/4 of the variance is left."""
    assert privacy.against(1.0, 4) == pytest.approx(0.75**0.5, rel=1e-15)
    assert privacy.against(2.0, 4, 3) == 1.0
    assert privacy.against(2.0, 4, 4) == 0.0
    assert privacy.renyi(privacy.against(1.0, 4), 1)[0] == pytest.approx(4 / 3, rel=1e-15)
    assert privacy.epsilon(privacy.against(1.0, 1), 1, 1e-5) == np.inf


def test_the_noise_that_a_hospital_cannot_take_off_is_what_is_promised() -> None:
    """The sum less what one hospital sent: its spread about the sum without noise is that of the accountant."""
    about = network.About(1200, 3, (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0))
    z, features = 0.5, " + ".join(f"I(x1 > {cut})" for cut in np.linspace(-2, 2, 9))
    about = about._replace(mean=(0.0,) * 10, sd=(1.0,) * 10)
    settings: dict[str, Any] = {"module": "mlp", "settings": {"hidden": (400,)}, "clip": 0.1}
    sent = []
    for privacy_of in (z, 0.0):
        made = make(features=features, privacy=privacy_of, **settings)
        asked = Ask(made, "update", ((0, 0), made.begins, np.zeros(0), about), "ask")
        both = []
        for i in range(2):  # the two that do not collude
            site = Site(table(people(400, i)), bytes([i]) * 32)
            site.design(Ask(made, "design", (), "support"))
            both.append(np.asarray(site.run(asked).weights.value))
        sent.append(sum(both))
    # without noise hospitals count by their people, here as many each
    left = (sent[0] - sent[1]).std() / (made.clip / 3)
    assert left == pytest.approx(privacy.against(z, 3), rel=0.05)


def updated(site: Site, analysis: Network, group: str) -> np.ndarray:
    """What a hospital sends of a first round, asked of a group of hospitals."""
    about = network.About(400, 3, (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0))
    site.design(Ask(analysis, "design", (), "support", group))
    asked = Ask(analysis, "update", ((0, 0), analysis.begins, np.zeros(0), about), "ask", group)
    return np.asarray(site.run(asked).weights.value)


def test_noise_differs_between_groups_of_hospitals() -> None:
    """Else what two overlapping groups send, subtracted, would be the sums of hospitals without their noise."""
    noisy, site = make(privacy=1.0), Site(table(people()), b"k" * 32)
    one, other = updated(site, noisy, "abc"), updated(site, noisy, "abd")
    assert np.abs(one - other).min() > 0
    assert np.array_equal(one, updated(Site(table(people()), b"k" * 32), noisy, "abc"))
    plain = [updated(site, make(), group) for group in ("abc", "abd")]  # the control
    assert np.array_equal(*plain)


def test_what_a_hospital_keeps_for_one_group_is_not_read_for_another() -> None:
    site, analysis = Site(table(people()), b"k" * 32), make(fine_tune=1)
    about = network.About(400, 3, (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0))
    for group, start in (("abc", 0.0), ("abd", 1.0)):
        site.design(Ask(analysis, "design", (), "support", group))
        site.run(Ask(analysis, "tune", (analysis.begins + start, about), "keep", group))
    one, other = (site._own[analysis, group]["tune"] for group in ("abc", "abd"))
    assert not np.allclose(one, other)


def test_a_person_moves_a_private_step_by_no_more_than_the_clip() -> None:
    clip, n = 0.01, 400
    frame = people(n)
    kind = {"privacy": 1e-9, "privacy_unit": "person", "sample": 1.0, "person_clip": clip, "rounds": 1, "steps": 1,
            "learning_rate": 1.0}  # fmt: skip
    other = frame.copy()
    other.loc[0, ["x1", "x2", "treated"]] = other.loc[1, ["x1", "x2", "treated"]]  # moments move a little too
    other.loc[0, "ill"] = 1 - other.loc[0, "ill"]
    apart = [weights(make(**kind), [f.iloc[:200], f.iloc[200:]]) for f in (frame, other)]
    assert 0 < np.linalg.norm(apart[0] - apart[1]) < 2 * clip / n * 1.5
    got = fit(make(**{**kind, "privacy": 1.0, "sample": 0.2, "rounds": 3, "steps": 0, "epochs": 1}), hospitals(), LOOSE)
    assert got.facts["epsilon"] == pytest.approx(privacy.epsilon(1.0, 15, 1e-5, 0.2))
    got = fit(make(**{**kind, "privacy": 1.0, "sample": 0.2, "rounds": 3, "steps": 0}), hospitals(), LOOSE)
    assert got.facts["epsilon"] == pytest.approx(privacy.epsilon(1.0, 30, 1e-5, 0.2))  # ten steps a round by default
    assert got.facts["epsilon_if_one_colludes"] == got.facts["epsilon"]  # another's noise is not theirs


# Models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        {}, {"outcome": "y", "objective": "squared"}, {"outcome": "fate", "features": "x1 + stage"},
        {"outcome": "Surv(time, event)", "intervals": (365.0, 1095.0)}, {"module": "mlp"},
    ],
)  # fmt: skip
def test_a_model_is_read_as_it_was_written(kind: dict[str, Any]) -> None:
    analysis = make(**kind)
    net = Net.of(replace(fit(analysis, hospitals(), LOOSE), analysis=analysis))
    again = Net.from_plain(net.plain(), net.tensors())
    frame = people(50, 9)
    assert again.sha256 == net.sha256
    assert np.array_equal(again.score(again.features(frame)), net.score(net.features(frame)))
    assert np.isfinite(net.prediction(net.score(net.features(frame)))).all()
    spoiled = replace(net, weights=net.weights + 1e-9).tensors()
    with pytest.raises(StudyError, match="SHA-256 differs"):
        Net.from_plain(net.plain(), spoiled)
    with pytest.raises(StudyError, match="no network"):
        Net.from_plain({}, spoiled)


def test_predictions_come_back_in_the_units_of_the_outcome() -> None:
    analysis = make("y", "x1 + x2", objective="squared", rounds=200, steps=1)
    net = Net.of(replace(fit(analysis, hospitals(), LOOSE), analysis=analysis))
    frame = people()
    residual = frame["y"] - net.prediction(net.score(net.features(frame)))
    assert residual.std() == pytest.approx(1.0, abs=0.1)


# What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"module": "resnet"}, "not installed"),
        ({"settings": {"hidden": (3,)}}, "nothing that the module 'linear' has"),
        ({"module": "mlp", "settings": {"hidden": (0,)}}, "from 1 to"),
        ({"module": "mlp", "settings": {"hidden": 3}}, "must be like"),
        ({"strategy": "fedavgm"}, "strategy is 'fedavgm'"),
        ({"rounds": 0}, "rounds is 0"),
        ({"intervals": (3.0, 2.0)}, "each above the one before"),
        ({"intervals": (3.0,)}, "intervals belong to"),
        ({"personal": ("head",)}, "no layer of"),
        ({"personal": ("out",)}, "names every layer"),
        ({"holdout": 0.2}, "name their column"),
        ({"outcome": "Surv(time, event)", "objective": "binary"}, "does not fit"),
        ({"outcome": "fate", "objective": "binary"}, "does not fit"),
        ({"outcome": "Surv(time, event)", "objective": "discrete"}, "needs intervals"),
        ({"module": "mean_pool"}, "reads bags"),
        ({"bag_size": 3}, "bag_size go together"),
        ({"strategy": "scaffold", "optimizer": "adam"}, "scaffold needs"),
        ({"privacy": 1.0, "privacy_unit": "person", "batch": 4}, "instead of `batch`"),
        ({"features": "x1 + strata(stage)"}, "takes no strata"),
    ],
)
def test_settings_that_do_not_fit_are_named(kind: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        fit(make(**kind), hospitals(), LOOSE)


def test_data_that_do_not_fit_are_named() -> None:
    with pytest.raises(DataError, match="must hold 0 and 1"):
        fit(make("x1", "x2"), hospitals(), LOOSE)
    with pytest.raises(DataError, match="must hold counts"):
        fit(make("x1", "x2", objective="poisson"), hospitals(), LOOSE)
    with pytest.raises(ModelError, match="'x2' does not vary"):
        fit(make(), [f.assign(x2=3.0) for f in hospitals()], LOOSE)
    with pytest.raises(ModelError, match="too little beside its mean; leave it out, or centre and rescale it"):
        fit(make(), [f.assign(x2=f.x2 + 1e10) for f in hospitals()], LOOSE)
    with pytest.raises((ModelError, RangeError), match="smaller learning_rate"):
        fit(make("visits", "x1", objective="poisson", learning_rate=1000.0, clip=1e6, epochs=30), hospitals(), LOOSE)


def test_a_module_with_running_statistics_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    normed = Kind(lambda sizes, settings: nn.Sequential(nn.Linear(sizes.inputs, 2), nn.BatchNorm1d(2)))
    monkeypatch.setattr(catalogue, "KINDS", {**catalogue.KINDS, "normed": normed})
    with pytest.raises(StudyError, match="LayerNorm or GroupNorm"):
        catalogue.built("normed", Sizes(3, 0, 1), {})


@pytest.mark.parametrize(("of", "value", "said"), [
    (make(), 0.0, "'ill' does not vary"), (make(), 1.0, "'ill' does not vary"),
    (make(holdout=0.3, ground=KNOWN), 0.0, "'ill' does not vary"),
    (make("visits", objective="poisson"), 0.0, "'visits' does not vary"),
    (make("Surv(time, event)"), 0.0, "nobody has the event"),
    (make("Surv(time, event)", intervals=(365.0, 1095.0), holdout=0.3, ground=KNOWN), 0.0, "nobody has the event"),
])  # fmt: skip
def test_where_nobody_has_the_event_nothing_is_learned(of: Network, value: float, said: str) -> None:
    column = "event" if "Surv" in of.outcome else of.outcome
    with pytest.raises(ModelError, match=said):
        fit(of, [f.assign(**{column: value}) for f in hospitals()], LOOSE)


@pytest.mark.parametrize(("outcome", "features"), [
    ("ill", "x1 + ill"), ("Surv(time, event)", "x1 + log(time)"), ("stage", "x1 + C(stage)"),
])  # fmt: skip
def test_the_outcome_is_no_feature(outcome: str, features: str) -> None:
    with pytest.raises(StudyError, match="is the outcome, and among the features; leave it out"):
        make(outcome, features).check()
