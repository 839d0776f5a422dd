"""Modules of bags: against twins that take one bag after the other, and on bags in which one row in ten tells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from confrere.analyses.networks import instances  # noqa: E402
from confrere.analyses.networks.catalogue import Sizes, built  # noqa: E402
from confrere.analyses.networks.instances import extremes, softmax, summed  # noqa: E402

NAMES = ("mean_pool", "abmil", "clam", "chowder")
SETTINGS = {"chowder": {"extremes": 3}}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small sums are slower with several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def bags(seed: int = 0, many: int = 7, size: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (m, size) of bags of 1 to 9 rows, and whose each is."""
    rng = np.random.default_rng(seed)
    counts = np.r_[1, rng.integers(1, 10, many - 1)]
    of = torch.from_numpy(np.repeat(np.arange(many), counts))
    return torch.from_numpy(rng.standard_normal((len(of), size))), of


def module(name: str, inputs: int = 2, outputs: int = 3) -> instances.Embedded:
    torch.manual_seed(3)
    return built(name, Sizes(inputs, 5, outputs), SETTINGS.get(name, {})).double()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_gives_what_each_person_gives_alone(name: str) -> None:
    rows, of = bags()
    x, found = torch.randn(7, 2, dtype=torch.float64), module(name)
    together = found(x, rows, of)
    assert together.shape == (7, 3)
    for i in range(7):
        mine = rows[of == i]
        alone = found(x[i : i + 1], mine, torch.zeros(len(mine), dtype=torch.int64))
        assert torch.allclose(alone[0], together[i], atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    rows, of = bags(1)
    order = torch.cat([torch.randperm(int((of == i).sum())) + int((of < i).sum()) for i in range(7)])
    found, x = module(name), torch.zeros(7, 2, dtype=torch.float64)
    assert torch.allclose(found(x, rows, of), found(x, rows[order], of), atol=1e-12)


@pytest.mark.parametrize("name", ["abmil", "clam"])
def test_attention_adds_up_to_one_for_each_person(name: str) -> None:
    rows, of = bags(2)
    weights = module(name).attention(rows, of)
    assert (weights >= 0).all()
    assert summed(weights, of, 7).detach().numpy() == pytest.approx(np.ones(7))


@pytest.mark.parametrize("name", ["mean_pool", "chowder"])
def test_pooling_without_weights_has_no_attention(name: str) -> None:
    assert not hasattr(module(name), "attention")


def test_chowder_tells_rows_apart_where_all_are_among_its_extremes() -> None:
    rows, _ = bags(3)
    assert len(set(module("chowder").row_scores(rows[:5]).tolist())) == 5


def test_attention_is_that_of_ilse_et_al() -> None:
    """Equation 9: softmax over a bag of w' (tanh(V h) * sigmoid(U h)), with h = relu(E x)."""
    rows, of = bags(4)
    found = module("abmil")
    for i in range(7):
        h = torch.relu(rows[of == i] @ found.embed.weight.T + found.embed.bias)
        v = torch.tanh(h @ found.value.weight.T + found.value.bias)
        u = torch.sigmoid(h @ found.gate.weight.T + found.gate.bias)
        expected = torch.softmax(((v * u) @ found.weigh.weight.T + found.weigh.bias)[:, 0], dim=0)
        assert torch.allclose(found.attention(rows, of)[of == i], expected, atol=1e-12)


def test_a_softmax_of_large_scores_is_finite() -> None:
    weights = softmax(torch.tensor([1e4, -1e4, 5.0]), torch.tensor([0, 0, 1]), 2)
    assert weights.tolist() == [1.0, 0.0, 1.0]


def test_extremes_are_the_highest_and_lowest_of_each_bag() -> None:
    rng = np.random.default_rng(5)
    of = torch.from_numpy(np.repeat([0, 1, 2], [6, 2, 1]))
    scores = torch.from_numpy(rng.standard_normal(9))
    most, least = extremes(scores, of, 3, 3)
    for i in range(3):
        mine = sorted(scores[of == i].tolist())
        padded = mine + [mine[-1]] * 3
        assert scores[least[i]].tolist() == padded[:3] if len(mine) < 3 else mine[:3]
        down = mine[::-1] + [mine[0]] * 3
        assert scores[most[i]].tolist() == down[:3]


def test_the_loss_of_clam_tells_most_from_least_attended_rows() -> None:
    rows, of = bags(6)
    found = module("clam")
    weights = found.attention(rows, of)
    told = torch.sigmoid(found.tell(torch.relu(found.embed(rows))))[:, 0]
    most, least = extremes(weights, of, 7, found.instances)
    expected = -torch.cat([told[most].log().reshape(-1), (1 - told[least]).log().reshape(-1)]).mean()
    assert found.beside(rows, of).item() == pytest.approx(found.share * expected.item())


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str) -> None:
    rows, of = bags(7)
    found, x = module(name), torch.ones(7, 2, dtype=torch.float64)
    loss = found(x, rows, of).pow(2).sum()
    if hasattr(found, "beside"):
        loss = loss + found.beside(rows, of)
    loss.backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in found.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_bags_in_which_one_row_in_ten_tells(name: str) -> None:
    """People are told apart, and attention finds the rows that tell: of a positive person those beyond 3."""
    rng = np.random.default_rng(8)
    y = np.arange(80) % 2
    rows = rng.standard_normal((80, 20, 5))
    rows[y == 1, :2, 0] += 4
    flat, of = torch.from_numpy(rows.reshape(-1, 5)), torch.from_numpy(np.repeat(np.arange(80), 20))
    found, x = module(name, 0, 1), torch.zeros(80, 0, dtype=torch.float64)
    optimizer = torch.optim.Adam(found.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(found(x, flat, of)[:, 0], torch.from_numpy(y * 1.0))
        loss = loss + found.beside(flat, of) if hasattr(found, "beside") else loss
        loss.backward()
        optimizer.step()
    scores = found(x, flat, of)[:, 0].detach().numpy()
    assert ((scores > 0) == y).mean() > 0.95
    if name in ("abmil", "clam"):
        weights = found.attention(flat, of).detach().numpy().reshape(80, 20)
        assert weights[y == 1, :2].sum(axis=1).mean() > 0.5
