"""Bags: written, opened, joined to people; what is not whole or not bound is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.data.bags import Bags, attached, beside, fitted, opened, write
from confrere.data.table import Table
from confrere.errors import DataError, Refused, StudyError
from confrere.hospital.home import Home
from confrere.study.file import parse
from confrere.study.write import written

ROWS = {"a": np.arange(6.0).reshape(3, 2), "b": np.zeros((0, 2)), "c": np.ones((1, 2)) * 0.5}
STUDY = """
[study]
id = "s"
purpose = "public-interest research"
[data]
table = "people"
person = "pid"
bags = ["slides"]
[[analysis]]
name = "one"
method = "network"
outcome = "y"
bags = "slides"
bag_size = 2
module = "mean_pool"
"""


def made(folder: Path) -> Bags:
    return write(folder / "slides.bags", ROWS.items(), {"encoder": "stain"})


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    bags = made(tmp_path)
    assert bags.size == 2
    assert bags.people == ("a", "b", "c")
    for person, rows in ROWS.items():
        assert bags.of(person).dtype == np.float32
        assert np.array_equal(bags.of(person), rows)
        assert bags.many(person) == len(rows)
    assert bags.of("stranger").shape == (0, 2)
    assert bags.about["encoder"] == "stain"
    assert bags.rows.dtype == np.float16
    assert np.array_equal(Bags.made(ROWS, 2).of("a"), bags.of("a"))


def test_the_digest_tells_features_people_and_what_made_them(tmp_path: Path) -> None:
    one = made(tmp_path)
    assert Bags.open(tmp_path / "slides.bags").digest == one.digest
    assert one.only(["a"]).digest != one.digest
    about = {"encoder": "stain", "made": one.about["made"]}
    other = write(tmp_path / "other.bags", {**ROWS, "c": np.ones((1, 2))}.items(), about)
    assert other.digest != one.digest


def test_only_some_people_are_left(tmp_path: Path) -> None:
    bags = made(tmp_path).only(["c", "d"])
    assert bags.people == ("c",)
    assert bags.of("a").shape == (0, 2)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a", np.ones((1, 2))), ("a", np.ones((1, 2)))], "two bags"),
        ([("", np.ones((1, 2)))], "no name"),
        ([("a", np.ones((1, 2))), ("b", np.ones((1, 3)))], "make all of them"),
        ([("a", np.array([[np.nan, 1]]))], "not finite"),
        ([("a", np.array([[1e5, 1]]))], "float16"),
        ([], "no bags"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path: Path, rows: list[object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        write(tmp_path / "x.bags", rows, {})  # type: ignore[arg-type]


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(DataError, match="not empty"):
        made(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("about.json", "{", "no JSON"),
        ("about.json", "{}", "size"),
        ("about.json", '{"size": 3}', "rows of 3 numbers"),
        ("index.csv", "who,start,rows\n", "person,start,rows"),
        ("index.csv", "person,start,rows\na,0,x\n", "person,start,rows"),
        ("index.csv", "person,start,rows\na,0,1\na,1,1\n", "twice"),
        ("index.csv", "person,start,rows\na,0,9\n", "beyond the 4"),
        ("features.npy", "no array", "cannot be read"),
    ],
)
def test_a_folder_that_is_not_whole_is_named(tmp_path: Path, file: str, text: str, said: str) -> None:
    made(tmp_path)
    (tmp_path / "slides.bags" / file).write_text(text)
    with pytest.raises(DataError, match=said):
        Bags.open(tmp_path / "slides.bags")
    (tmp_path / "slides.bags" / file).unlink()
    with pytest.raises(DataError, match=f"there is no {file}"):
        Bags.open(tmp_path / "slides.bags")


def test_what_is_not_bound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not bound.*\[data.bags\] slides"):
        opened(["slides"], {}, "curie")


def test_a_study_names_its_bags() -> None:
    study = parse(STUDY)
    assert study.bags == ("slides",)
    assert parse(written(study)).hash == study.hash
    assert study.hash != parse(STUDY.replace('bags = ["slides"]', "")).hash
    with pytest.raises(StudyError, match="name its column, person"):
        parse(STUDY.replace('person = "pid"', ""))
    with pytest.raises(StudyError, match="letters, digits"):
        parse(STUDY.replace('["slides"]', '["../slides"]'))


def test_a_table_has_the_bags_of_its_people_alone(tmp_path: Path) -> None:
    made(tmp_path)
    table = Table(pd.DataFrame({"pid": ["a", "d"], "y": [0.0, 1.0]}), 2, {}, {}, "test")
    bound = beside(tmp_path / "people.csv", ["slides", "others"])
    assert list(bound) == ["slides"]
    got = attached(table, parse(STUDY), bound, "curie")
    assert got.bags["slides"].people == ("a",)
    assert got.nobody().bags["slides"].people == ()
    assert got.nobody().bags["slides"].size == 2


def test_a_hospital_binds_bags_beside_its_tables(tmp_path: Path) -> None:
    home = Home.make(tmp_path / "curie", "curie", {"people": "people.csv"}, "pid")
    assert home.bags == {}
    file = tmp_path / "curie" / "hospital.toml"
    text = file.read_text()
    file.write_text(text + '\n[data.bags]\nslides = "slides.bags"\n')
    assert Home(tmp_path / "curie").bags == {"slides": tmp_path / "curie" / "slides.bags"}
    file.write_text(text + "\n[data.bags]\nslides = 3\n")
    with pytest.raises(StudyError, match="give each name a folder"):
        Home(tmp_path / "curie")


def test_a_study_is_trained_on_bags_beside_tables_and_on_bags_given(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    rng, folders, given, frames = np.random.default_rng(5), {}, {}, {}
    for h in ("aa", "bb", "cc"):
        n = 90
        y = rng.integers(0, 2, n).astype(float)
        frame = pd.DataFrame({"pid": [f"{h}{i}" for i in range(n)], "y": y})
        bags = {p: rng.normal(size=(3, 2)) + one for p, one in zip(frame["pid"], y, strict=True)}
        del bags[f"{h}0"]
        (tmp_path / h).mkdir()
        frame.to_csv(tmp_path / h / "people.csv", index=False)
        about = {"encoder": "none", "encoder_sha256": "0" * 64}
        given[h] = {"slides": write(tmp_path / h / "slides.bags", bags.items(), about, half=False)}
        folders[h], frames[h] = tmp_path / h / "people.csv", frame
    more = 'rounds = 8\nlearning_rate = 1.0\nbag_recipe = "none 0000000000000000"\n'
    more += '[disclosure]\nallow = ["model_weights"]\n'
    (tmp_path / "study.toml").write_text(STUDY + more)
    found = cf.local(folders).run(tmp_path / "study.toml")["one"]
    auc = found.summary("metrics").iloc[0]
    assert (auc["metric"], auc["sample"]) == ("AUC", "held out")
    assert auc["estimate"] > 0.7  # in few cells: held out are some 50 people
    again = cf.local(frames, person="pid", bags=given).run(tmp_path / "study.toml")["one"]
    assert np.array_equal(again.finding.arrays["weights"], found.finding.arrays["weights"])
    assert found.model.bag_recipe == again.model.bag_recipe == "none 0000000000000000"
    assert found.model.sha256 != dataclasses.replace(found.model, bag_recipe="").sha256
    with pytest.raises(DataError, match="not bound"):
        cf.local(frames, person="pid").run(tmp_path / "study.toml")
    with pytest.raises(StudyError, match="'ab', which is no hospital"):
        cf.local(frames, person="pid", bags={"ab": given["aa"]})
    others = '[[analysis]]\nname = "all"\nmethod = "describe"\nvariables = ["y"]\n'
    (tmp_path / "study.toml").write_text(STUDY + more + others)
    with pytest.raises(Refused, match="people of analyses"):  # three people have no bag: they would be told apart
        cf.local(folders).run(tmp_path / "study.toml")


def test_a_hospital_whose_rows_were_made_otherwise_is_refused_before_the_first_sum() -> None:
    """One of three has tiles of another resolution, or says nothing of how it made them: no average is made."""
    pytest.importorskip("torch")
    rng, frames, given = np.random.default_rng(6), {}, {}
    said = {"encoder": "stain", "encoder_sha256": "a" * 64, "tiling": {"mpp": 1.0, "side": 64}}
    for h in ("aa", "bb", "cc"):
        frames[h] = pd.DataFrame({"pid": [f"{h}{i}" for i in range(90)], "y": rng.integers(0, 2, 90).astype(float)})
        given[h] = {"slides": Bags.made({p: rng.normal(size=(2, 2)) for p in frames[h]["pid"]}, 2, said)}

    def ran(other: object, recipe: str) -> cf.Result:
        bags = given | {"bb": {"slides": dataclasses.replace(given["bb"]["slides"], about=other)}}
        net = cf.Network("y", bags="slides", bag_size=2, bag_recipe=recipe, module="mean_pool", rounds=2)
        return cf.local(frames, person="pid", bags=bags).run(net, allow=["model_weights"])

    recipe = "stain aaaaaaaaaaaaaaaa, mpp 1, tile 64"
    assert ran({**said, "made": "another day"}, recipe).model.bag_recipe == recipe
    for other in ({**said, "tiling": {"mpp": 2.0, "side": 32}}, {**said, "encoder_sha256": "b" * 64}, {}):
        with pytest.raises(DataError, match="Rows made otherwise cannot be compared"):
            ran(other, recipe)
    with pytest.raises(DataError, match=r"in memory is 'stain a.*, tile 64', and that of .* is not stated"):
        ran(said, "")


@pytest.mark.parametrize(
    ("about", "recipe"),
    [
        ({}, ""),
        ({"encoder": "", "encoder_sha256": "", "size": 3, "made": "today"}, ""),
        ({"encoder": "skin", "encoder_sha256": "c" * 64}, "skin cccccccccccccccc"),
        ({"encoder": "e", "tiling": {"mpp": 0.5, "side": 256, "most": 9}}, "e, mpp 0.5, tile 256"),
        (
            {"encoder": "e", "normalised": {"side": 224, "mean": [0.5, 0.4, 0.3], "std": [1, 1, 0.25]}},
            "e, input 224, mean 0.5 0.4 0.3, std 1 1 0.25",
        ),
        ({"encoder": "e", "recipe": "ours, 2026"}, "ours, 2026"),
    ],
)
def test_a_recipe_says_all_that_rows_are_compared_by(about: dict[str, object], recipe: str) -> None:
    bags = Bags.made(ROWS, 2, about)
    assert bags.recipe == recipe
    assert bags.only(["a"]).fit("slides", 2, recipe).people == ("a",)
    with pytest.raises(DataError, match="have 2 numbers, and bag_size is 3"):
        bags.fit("slides", 3, recipe)
    with pytest.raises(DataError, match="cannot be compared"):
        bags.fit("slides", 2, recipe + " ")


def test_a_steward_hears_before_a_run_that_bags_do_not_fit() -> None:
    bags = Bags.made(ROWS, 2, {"encoder": "another"})
    table = Table(pd.DataFrame({"pid": ["a"]}), 1, {}, {}, "test", bags={"slides": bags})
    fits = cf.Network("y", bags="slides", bag_size=2, bag_recipe="another", module="mean_pool")
    assert fitted(table, [fits, cf.Linear("y ~ 1")]) is table
    for wrong in ({"bag_recipe": "one"}, {"bag_recipe": ""}, {"bag_size": 3}):
        with pytest.raises(DataError, match="slides"):
            fitted(table, [dataclasses.replace(fits, **wrong)])
    similar = cf.SimilarCases("y", (0.0, 1.0), bags="slides", bag_recipe="one")
    with pytest.raises(DataError, match="cannot be compared"):
        fitted(table, [similar])


def test_features_that_were_changed_after_they_were_written_are_refused(tmp_path: Path) -> None:
    made(tmp_path)
    table, bound = (
        Table(pd.DataFrame({"pid": ["a"], "y": [0.0]}), 1, {}, {}, "test"),
        beside(tmp_path / "t", ["slides"]),
    )
    attached(table, parse(STUDY), bound, "curie")
    file = tmp_path / "slides.bags" / "features.npy"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(DataError, match=r"slides.bags: features.npy was changed"):
        attached(table, parse(STUDY), bound, "curie")


def test_ids_that_became_floats_by_a_missing_one_find_their_bags() -> None:
    bags = Bags.made({"17": np.ones((1, 2)), "18": np.zeros((0, 2))}, 2)
    assert bags.known([17.0, 17, "17", 18.0, np.nan]).tolist() == [True, True, True, False, False]
    assert bags.of(17.0).shape == (1, 2)
    assert bags.only([17.0]).people == ("17",)
