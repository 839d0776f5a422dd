"""The study file: what it holds, and how it says what is wrong."""

from pathlib import Path
from typing import Any, Literal

import pytest

from confrere.errors import StudyError
from confrere.study.file import Study, parse, read, settings
from confrere.study.schema import Column, Schema

TEXT = """\
[study]
id = "rotterdam-recurrence"
title = "Hormonal therapy and recurrence in breast cancer"
purpose = "public-interest research"      # checked
[data]
table = "breast"
person = "pid"
[data.columns.size]                       # levels
levels = ["<=20", "20-50", ">50"]
[data.columns.age]
range = [18, 110]
unit = "years"
[disclosure]
allow = ["fine_times"]
k = 15
[groups]
french = ["lyon", "curie", "lille"]
[[analysis]]
name = "recurrence"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + age + C(size) + nodes"
ties = "efron"
[[analysis]]
name = "curves"
method = "kaplan_meier"
group = "french"
formula = "Surv(dtime, death) ~ hormon"
"""


def changed(old: str, new: str) -> Study:
    assert old in TEXT
    return parse(TEXT.replace(old, new, 1), "study.toml")


def test_a_study() -> None:
    study = parse(TEXT)
    assert (study.id, study.table, study.person, study.k, study.allow) == (
        "rotterdam-recurrence", "breast", "pid", 15, ("fine_times",),
    )  # fmt: skip
    assert study.schema == Schema(
        {
            "size": Column("size", ("<=20", "20-50", ">50")),
            "age": Column("age", None, (18.0, 110.0), "years"),
        }
    )
    cox, curves = study.analyses
    assert (cox.name, cox.method, cox.group, cox.settings["ties"]) == ("recurrence", "cox", (), "efron")
    assert curves.group == ("curie", "lille", "lyon")
    assert study.columns == ("age", "death", "dtime", "hormon", "nodes", "pid", "recur", "rtime", "size")
    assert (study.time_unit, study.time_step, study.missing) == ("days", None, "complete")
    assert study.ground.schema == study.schema


def test_defaults_are_the_strictest() -> None:
    study = changed('[disclosure]\nallow = ["fine_times"]\nk = 15\n', "")
    assert (study.allow, study.k) == ((), 11)


def test_the_hash_is_over_content_not_spelling() -> None:
    study = parse(TEXT)
    assert len(study.hash) == 64
    assert parse(TEXT.replace("# checked", "# seen").replace("\n", "\r\n")).hash == study.hash
    assert changed('table = "breast"\nperson = "pid"', "person = 'pid'\ntable='breast'").hash == study.hash
    for old, new in [
        ("k = 15", "k = 16"),
        ("efron", "breslow"),
        ("+ nodes", ""),
        ("18, 110", "18, 111"),
        ("lille", "nice"),
    ]:
        assert changed(old, new).hash != study.hash


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title", "titel", r"study.toml, line 3: \[study\] titel: .*did you mean 'title'"),
        ("[data]", "[dat]", "line 5: dat: .*did you mean 'data'"),
        ("table =", "tabel =", r"line 6: \[data\] tabel: .*did you mean 'table'"),
        ("levels =", "level =", r"line 9: \[data.columns.size\] level: .*did you mean 'levels'"),
        ("allow", "alow", r"line 14: \[disclosure\] alow: .*did you mean 'allow'"),
        ('"fine_times"', '"fine_time"', "line 14: .*'fine_time' is no disclosure class; did you mean 'fine_times'"),
        ("k = 15", "k = 5", "line 15: .*5 must be 11 or more: a study may be stricter, never laxer"),
        ("k = 15", "k = 11.5", "line 15: .*wrong type"),
        ("k = 15", "k = true", "line 15: .*wrong type"),
        ('name = "recurrence"', 'nme = "recurrence"', r"nme: did you mean 'name'"),
        ('method = "cox"\n', "", r"method is missing under \[analysis\]"),
        ('method = "cox"', "method = 3", "method: has the wrong type: must be a text, not a whole number"),
        ('"curves"', '"Recurrence"', "'Recurrence' stands there twice"),
        ('"curves"', '"../curves"', "must be letters, digits"),
        ('"curves"', '""', "is empty"),
        ('id = "rotterdam-recurrence"', 'id = "a/b"', r"line 2: \[study\] id: 'a/b' must be letters"),
        ('group = "french"', 'group = "frensh"', "did you mean 'french'"),
        ('["lyon", "curie", "lille"]', '["lyon", "curie"]', "3 different hospitals or more"),
        ('["lyon", "curie", "lille"]', '["lyon", "curie", "curie"]', "3 different hospitals or more"),
        ('["<=20", "20-50", ">50"]', '["<=20"]', "must list 2 to"),
        ('["<=20", "20-50", ">50"]', '["a", "b", "a"]', "'a' more than once"),
        ('["<=20", "20-50", ">50"]', '["a", 1.5]', "texts or whole numbers"),
        ("[18, 110]", "[110, 18]", "lowest plausible value first"),
        ("[18, 110]", "[18]", "two numbers"),
        ('range = [18, 110]', 'range = [18, 110]\nlevels = ["a", "b"]', "exclude each other"),
        ('table = "breast"', 'table = "breast"\ntime_unit = "day"', "did you mean 'days'"),
        ('table = "breast"', 'table = "breast"\ntime_step = 0', "above 0"),
        ('table = "breast"', 'table = "breast"\ntime_step = 30\nhorizon = 3', r"at least one time_step \(30 days\)"),
        ('table = "breast"', 'table = "breast"\nmissing = "impute"', "there is complete"),
        ('table = "breast"', "table = breast", r"not valid TOML: .*line 6"),
        ("[[analysis]]\nname = \"rec", "[analysis]\nname = \"rec", "not valid TOML|double brackets"),
        ('purpose = "public-interest research"', "", r"purpose is missing under \[study\]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(old: str, new: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        changed(old, new)


def test_a_fine_ladder_needs_its_class() -> None:
    assert changed('table = "breast"', 'table = "breast"\ntime_step = 7').time_step == 7
    text = TEXT.replace('allow = ["fine_times"]', "").replace('table = "breast"', 'table = "breast"\ntime_step = 7')
    with pytest.raises(StudyError, match=r'finer than 30 days; .*allow = \["fine_times"\]'):
        parse(text)


def test_no_analysis_at_all() -> None:
    with pytest.raises(StudyError, match=r"one \[\[analysis\]\] or more"):
        parse(TEXT[: TEXT.index("[[analysis]]")])


def test_reading_files(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    with pytest.raises(StudyError, match=r"cannot read the study file .*study.toml"):
        read(path)
    path.write_text("\ufeff" + TEXT, encoding="utf-8")
    assert read(path).hash == parse(TEXT).hash
    path.write_bytes(TEXT.replace("Hormonal", "Hormonothérapie").encode("latin-1"))
    with pytest.raises(StudyError, match=r"study.toml, line 3: not UTF-8; save the file with the encoding UTF-8"):
        read(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(StudyError, match="at most 1000000"):
        read(path)


FIELDS: dict[str, Any] = {
    "formula": str,
    "ties": Literal["efron", "breslow"],
    "penalty": float,
    "at": tuple[float, ...],
    "pair": tuple[float, float],
    "maybe": float | None,
}


def of(text: str) -> Study:
    return changed('ties = "efron"', text)


def test_settings_are_converted() -> None:
    spec = of('ties = "breslow"\npenalty = 1\nat = [365, 730.5]').analyses[0]
    found = settings(spec, FIELDS, ["formula"])
    assert found["at"] == (365.0, 730.5)
    assert isinstance(found["penalty"], float)


def test_one_value_where_a_list_is_wanted_is_a_list_of_one() -> None:
    assert settings(of("at = 365").analyses[0], FIELDS)["at"] == (365.0,)
    text = TEXT.replace('allow = ["fine_times"]', 'allow = "fine_times"')
    assert text != TEXT
    assert parse(text).allow == ("fine_times",)


def test_a_study_without_a_table_of_data_reads_the_one_of_its_name() -> None:
    bare = """[study]\nid = "lung"\npurpose = "care"\n[[analysis]]\nname = "a"\nmethod = "cox"\n"""
    assert parse(bare).table == "lung"
    assert parse(bare).hash == parse(bare + "[data]\n").hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tie = "efron"', r"analysis 'recurrence' \(cox\): 'tie' is no setting of cox; did you mean 'ties'"),
        ('ties = "efrom"', "'efrom' is not known; did you mean 'efron'"),
        ('penalty = "1"', "penalty: must be a number, not a text in quotes"),
        ('at = [1, "a"]', r"at: must be a number, not a text in quotes \(entry 2\)"),
        ('at = "a"', "at: must be a number, not a text in quotes$"),
        ("pair = 1", "pair: must be a list, not a whole number"),
        ("pair = [1]", "pair: must be a list of 2, not of 1"),
        ("maybe = true", "maybe: must be a number, not true or false"),
    ],
)
def test_settings_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        settings(of(text).analyses[0], FIELDS)


def test_settings_that_are_missing() -> None:
    with pytest.raises(StudyError, match="'weights' is missing; cox needs weights"):
        settings(of("").analyses[0], {**FIELDS, "weights": str}, ["weights"])


def test_schema_round_trip() -> None:
    schema = parse(TEXT).schema
    assert Schema.from_dict(schema.to_dict()) == schema
    assert hash(Schema.from_dict(schema.to_dict())) == hash(schema)
    assert Schema.from_dict({"grade": {"levels": [1, 2, 3]}}).levels("grade") == ("1", "2", "3")
    assert schema.column("nodes") == Column("nodes")
