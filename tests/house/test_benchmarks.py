"""The benchmarks run: every part at a tiny size, so that none can rot. No time is judged; missing peers are told."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federate import ROOT

TINY = {"people": 2_000, "terms": 2, "hospitals": 3, "times": 1}


@pytest.fixture(scope="module")
def part() -> Iterator[Any]:
    """Modules of the benchmarks, which are beside the package and not in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def results(part: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All parts at a tiny size; fits of Python run in this process, which saves a start each."""
    fit, people, process = part("fit"), part("people"), part("process")

    def here(command: list[str]) -> Any:
        if command[0] == "Rscript":
            return process.fresh(command)
        method, path = command[-2:]
        return json.loads(json.dumps(fit.measure(method, people.load(Path(path)))))

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peers about their own dependencies
        patch.setattr(part("beside"), "fresh", here)
        patch.setattr(part("growth"), "fresh", here)
        return part("__main__").measured(argparse.Namespace(**TINY), tmp_path_factory.mktemp("benchmarks"))


def ours(results: Any) -> dict[str, Any]:
    """Our rows, by name."""
    return {row["name"]: row for row in results["beside"] if row["package"] == "confrere"}


def test_every_method_has_a_row_with_numbers_or_a_reason(results: Any, part: Any) -> None:
    rows = {row["name"]: row for row in results["beside"]}
    assert list(rows) == [method.name for method in part("beside").METHODS]
    there = part("machine").installed
    for row in rows.values():
        assert row.get("missing") == (None if there(row["package"], results["machine"]) else "not installed"), row
        assert "missing" in row or row["wall"]["min"] > 0 or row["package"] == "R"  # R's clock has milliseconds


def test_all_agree_with_r(results: Any) -> None:
    if results["machine"]["r"] is None:
        pytest.skip("R with survival is not installed: nothing to hold the fits against")
    for row in results["beside"]:
        if "missing" not in row:
            assert row["coef_error"] < (1e-9 if row["package"] == "confrere" else 0.05), row["name"]
            # glum divides by n - p, not by n
            assert row["se_error"] is None or row["se_error"] < (1e-8 if row["package"] == "confrere" else 1e-2)
    for level in results["published"]["ours"]:
        assert level["hazard_ratio"] < 1e-12
        assert level["p_value"] < 1e-7


def test_peers_that_are_missing_are_said(results: Any) -> None:
    missing = sorted({row["package"] for row in results["beside"] if "missing" in row})
    if missing:
        pytest.skip(f"not installed, and so not tried: {', '.join(missing)}")


def test_bytes_are_those_that_left(results: Any) -> None:
    for name, row in ours(results).items():
        (told,) = [o for o in results["traffic"]["ours"] if o["name"] == name]
        assert told["payload"] == 16 * told["numbers"] == sum(left[3] for left in row["left"])
        assert 0 < told["payload_before_last_pass"] < told["payload"] < told["sent"]
    fedeca = part_of(results["traffic"]["computed"], "FedECA")
    assert fedeca["bytes"] == 10 * 3650 * (1 + 2 + 4) * 8


def part_of(layouts: list[dict[str, Any]], system: str) -> dict[str, Any]:
    """The layout of a system."""
    return next(layout for layout in layouts if layout["system"] == system)


def test_layouts_are_the_published_counts(part: Any) -> None:
    layouts = part("traffic").layouts(20, 2756)
    assert part_of(layouts, "ODAC")["numbers"] - 40 == 1_160_276
    assert part_of(part("traffic").layouts(20), "FedECA")["bytes"] == pytest.approx(123e6, rel=2e-3)


def test_growth_has_an_exponent_for_each_axis_and_model(results: Any, part: Any) -> None:
    lines = results["growth"]["lines"]
    assert [(line["axis"], line["task"]) for line in lines] == [
        (axis, task) for axis in ("people", "terms", "hospitals") for task in ("cox", "logistic")
    ]
    assert all(np.isfinite(list(line["exponents"].values())).all() for line in lines)
    assert part("growth").exponent([10, 100, 1000], [3.0, 300.0, 30000.0]) == pytest.approx(2)


def test_masks_and_start_are_measured(results: Any) -> None:
    assert min(results["masking"]["over_cox_slope"], results["masking"]["over_cox_curve"]) > 0
    assert results["start"]["demo"]["min"] > results["start"]["import"]["min"] > 0


def test_table_and_figure_are_written(results: Any, part: Any, tmp_path: Path) -> None:
    text = part("table").markdown(results)
    assert all(row["label"].removeprefix("confrere") in text for row in results["beside"])
    assert "nan" not in text
    assert "None" not in text
    json.dumps(results, allow_nan=False)
    figure = tmp_path / "growth.svg"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = part("plot").draw(results["growth"], figure)
    assert drawn == figure.exists()
    if not drawn:
        pytest.skip("altair and vl-convert-python are not installed: no figure was drawn")


@pytest.mark.parametrize(("terms", "hospitals"), [(1, 3), (5, 10), (40, 30)])
def test_three_in_ten_people_have_the_event(part: Any, terms: int, hospitals: int) -> None:
    tables = part("people").people(100_000, terms, hospitals)
    event = np.concatenate([t["event"] for t in tables.values()])
    assert len(tables) == hospitals
    assert part("people").check_share(event) == pytest.approx(0.3, abs=0.005)
    with pytest.raises(ValueError, match=r"it must be 30.0%"):
        part("people").check_share(np.ones(1000))


def test_the_file_gives_back_the_tables(part: Any, tmp_path: Path) -> None:
    people = part("people")
    people.store(tmp_path / "people.npy", 1_000, 2, 3)
    back = people.tables_of(people.load(tmp_path / "people.npy"))
    for name, table in people.people(1_000, 2, 3).items():
        assert back[name].equals(table)


def test_a_fit_in_a_fresh_process(part: Any, tmp_path: Path) -> None:
    part("people").store(tmp_path / "people.npy", 1_000, 2, 3)
    process = part("process")
    found = process.fresh(process.python("fit", "cox: confrere", str(tmp_path / "people.npy")))
    assert len(found["coef"]) == len(found["se"]) == 2
    assert found["peak"] > found["more"] >= 0
    assert "KeyError" in process.fresh(process.python("fit", "cox: nobody's", str(tmp_path / "people.npy")))["failed"]


def test_a_weighted_model_beside_ours(part: Any, tmp_path: Path) -> None:
    part("people").store(tmp_path / "people.npy", 1_000, 2, 3)
    for method in ("cox", "weighted"):
        found = part("weighted").fitted(method, tmp_path / "people.npy")
        assert found["wall"] > 0 < found["cpu"]


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    given = [f"--{key}={value}" for key, value in TINY.items()]
    command = [sys.executable, "-m", "benchmarks", "--out", str(tmp_path), *given]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["size"] == TINY
    assert (tmp_path / "table.md").read_text(encoding="utf-8").startswith("2,000 synthetic people x 2 terms")


def test_what_the_bank_finds_is_printed_without_scikit_learn(
    part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("PIL.Image")
    from images.lesions import jpeg, picture

    skin = part("skin")
    table = pd.DataFrame({"image_jpeg": [jpeg(picture(i)) for i in range(4)], "dx": list("abab")})
    table.to_parquet(tmp_path / "some.parquet")
    monkeypatch.setattr(sys, "argv", ["skin", str(tmp_path / "some.parquet")])
    monkeypatch.setattr(skin, "find_spec", lambda _: None)
    skin.main()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("area under the curve, kinds")
    assert last.endswith("needs scikit-learn: pip install 'confrere[benchmarks]'")
