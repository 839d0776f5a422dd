"""`confrere slides` and the demo: what is printed, written and refused."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from confrere.console import pathology
from confrere.console.app import app
from confrere.console.slides_looked import map_of
from confrere.data.bags import Bags
from confrere.errors import ConfrereError
from confrere.images.slides_list import LEDGER, read
from confrere.images.slides_made import write as write_slide
from images.made import drawn, folder_of, listing

PEOPLE = 96  # of each hospital: 44 train at the least
TORCH = find_spec("torch") is not None and find_spec("safetensors") is not None


def run(*words: object) -> str:
    """What a command prints; its error is raised."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("clinic") / "slides")


def test_a_check_says_of_every_slide_what_is_wrong(folder: Path) -> None:
    said = run("slides", "check", folder, "--mpp", 1, "--tile", 64)
    assert "10 slides: 4 used, 1 not listed, 1 missing, 1 unreadable, 1 resolution, 1 no tissue, 1 pen" in said
    assert "nowhere.tif does not say its microns per pixel; ask the scanner's people, and state it" in said
    assert not list(folder.parent.glob("*.bags"))


def test_bags_are_made_and_their_ledger_is_read(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "slides.bags"
    said = run("slides", "extract", folder, "--out", out, "--mpp", 1, "--tile", 64)
    assert "10 slides: 3 used" in said
    assert 'bag_size = 43, bag_recipe = "stain d950cfaeee4234e9, mpp 1, tile 64"' in said
    ledger = run("slides", "ledger", out)
    assert "a1.tif: used" in ledger
    assert "blurred.tif: too many of its tiles are out of focus" in ledger
    again = run("slides", "extract", folder, "--out", out, "--mpp", 1, "--tile", 64)
    assert "0 slides were looked at now" in again


def test_a_folder_of_which_no_slide_can_be_used_is_an_error(tmp_path: Path) -> None:
    write_slide(tmp_path / "slides" / "a.tif", drawn(0.2, 4, "empty"))
    listing(tmp_path / "slides", [("a.tif", "ada", "")])
    for words in (("check",), ("extract", "--out", tmp_path / "slides.bags")):
        with pytest.raises(ConfrereError, match=r"no slide can be used \(1 no tissue\)"):
            run("slides", words[0], tmp_path / "slides", *words[1:])
    assert "a.tif: it has too little tissue" in run("slides", "ledger", tmp_path / "slides.cache")


def test_wrong_words_are_refused(folder: Path, tmp_path: Path) -> None:
    for words, message in (
        (("extract", folder, "--out", tmp_path / "a.bags", "--encoder", "resnet"), "no encoder is called 'resnet'"),
        (("extract", folder, "--out", tmp_path / "a.bags", "--mpp", 99), "mpp is 99"),
        (("check", tmp_path / "nothing"), "no folder of slides"),
        (("ledger", tmp_path), "no ledger of slides"),
    ):
        with pytest.raises(ConfrereError, match=message):
            run("slides", *words)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The study of the demo and three small hospitals, their features extracted."""
    study, *folders = pathology.written(tmp_path_factory.mktemp("demo"), PEOPLE)
    for one in folders:
        pathology.extracted(one)
    return [study, *folders]


@pytest.mark.slow
@pytest.mark.skipif(not TORCH, reason="needs torch and safetensors")
def test_a_network_of_slides_is_learned_and_shows_where_it_looked(federation: list[Path], tmp_path: Path) -> None:
    """From files to a report, a model and a heat map: who was made with a lesion scores higher."""
    study, *folders = federation
    words = [word for one in folders for word in ("--hospital", f"{one.name}={one / 'table.csv'}")]
    run("run", study, *words, "--out", tmp_path)
    model, bags = tmp_path / "models" / "outcome.json", folders[0] / "slides.bags"
    entry = next(e for e in read(bags / LEDGER) if e.used)
    said = run("slides", "heatmap", model, folders[0] / "slides" / entry.slide, "--bags", bags)
    assert "it stays in this hospital" in said
    assert map_of(bags, entry).read_bytes().startswith(b"\x89PNG")
    assert map_of(bags, entry).stat().st_mode & 0o077 == 0
    net = slides_net(model)
    scores, lesions = [], []
    for one in folders:
        opened, made = Bags.open(one / "slides.bags"), lesions_of(one, folders.index(one))
        for person in opened.people:
            weights, score = attention_of(net, opened.of(person))
            assert weights.sum() == pytest.approx(1)
            scores.append(score)
            lesions.append(made[person] > 0)
    found, which = np.array(scores), np.array(lesions)
    assert (found[which][:, None] > found[~which][None]).mean() > 0.85


def slides_net(path: Path) -> Any:
    from confrere.console.slides import _net

    return _net(path)


def attention_of(net: Any, rows: np.ndarray) -> Any:
    from confrere.console.slides_looked import attention

    return attention(net, rows.astype(np.float64))


def lesions_of(folder: Path, number: int) -> dict[str, float]:
    """The lesions with which a hospital was made."""
    from confrere.images.slides_made import _person

    rng = np.random.default_rng(number + 1)
    made = [_person(rng, f"{folder.name}-{i:03d}")[0] for i in range(PEOPLE)]
    return {one.person: one.lesion for one in made}


@pytest.mark.skipif(not TORCH, reason="needs torch")
def test_a_heat_map_needs_a_network_with_attention_and_a_slide_of_the_bags(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "slides.bags"
    run("slides", "extract", folder, "--out", out, "--mpp", 1, "--tile", 64)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ConfrereError, match="no model that Confrere wrote"):
        run("slides", "heatmap", tmp_path / "model.json", folder / "a1.tif", "--bags", out)
    net = a_net("abmil")
    from confrere.console.slides_looked import attention, drawn

    with pytest.raises(ConfrereError, match="not in the ledger"):
        drawn(net, Path(__file__), out, None, "en")
    with pytest.raises(ConfrereError, match=r"blurred.tif was not used \(blurred\)"):
        drawn(net, folder / "blurred.tif", out, None, "en")
    with pytest.raises(ConfrereError, match="does not weigh its tiles"):
        attention(a_net("mean_pool"), np.zeros((2, 43)))
    with pytest.raises(ConfrereError, match=r"is 'stain d95\w+, mpp 1, tile 64', and .* 'stain .*, mpp 2, tile 32'"):
        drawn(a_net("abmil", "stain d950cfaeee4234e9, mpp 2, tile 32"), folder / "a1.tif", out, None, "en")
    made = {}
    for name in ("abmil", "chowder"):
        path = drawn(a_net(name), folder / "sub" / "a2.tif", out, tmp_path / f"{name}.png", "fr")
        made[name] = path.read_bytes()
        assert made[name].startswith(b"\x89PNG")
    scores = attention(a_net("chowder"), np.eye(43)[:5])[0]
    assert scores.min() < 0 < scores.max()


def a_net(module: str, recipe: str = "stain d950cfaeee4234e9, mpp 1, tile 64") -> Any:
    """A network as it begins."""
    from confrere.analyses.networks.model import Net
    from confrere.analyses.networks.network import Network
    from confrere.study.ground import Ground

    found = Network("outcome", bags="slides", bag_size=43, module=module, ground=Ground(person="person"))
    return Net(
        objective="binary", outcome="outcome", levels=(), formula="outcome ~ 1", module=module, settings=found.made,
        sizes=found.sizes, mean=(0.0,), sd=(1.0,), intervals=(), personal=(), bags="slides", weights=found.begins,
        bag_recipe=recipe,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not TORCH, reason="needs torch and safetensors")
def test_the_demo_writes_a_report_and_a_heat_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pathology.written, "__defaults__", (PEOPLE,))
    said = run("demo", "pathology", "--out", tmp_path, "--lang", "fr")
    assert "curie: 96 slides: 92 used, 1 resolution, 1 no tissue, 1 pen, 1 blurred" in said
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    (learned,) = result["analyses"]
    held = next(r for r in learned["tables"]["metrics"] if (r["metric"], r["sample"]) == ("AUC", "held out"))
    assert held["conf_low"] <= held["estimate"] <= held["conf_high"]
    assert (tmp_path / "heatmap-curie.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "report.html").is_file()
