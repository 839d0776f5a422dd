"""Reading records: only what is named, nothing dropped silently, and what bad input is answered with."""

import gzip
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.data.sources import Source, read
from confrere.data.without import Without
from confrere.errors import DataError
from confrere.study.schema import Column, Schema

SCHEMA = Schema({"size": Column("size", ("small", "large")), "age": Column("age", None, (18.0, 100.0), "years")})
CSV = "pid,age,size,dead,note\na,40,small,1,x\nb,NA,large,0,y\nc,17,,TRUE,z\nd,6e1,small,false,\n"
NAMES = ["age", "size", "dead"]


def csv(path: Path, text: str | bytes = CSV, name: str = "curie.csv") -> Path:
    path = path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def check(table: Any) -> None:
    frame = table.frame
    assert list(frame.columns) == ["pid", *NAMES]
    np.testing.assert_array_equal(frame["age"], [40, np.nan, 18, 60])
    np.testing.assert_array_equal(frame["dead"], [1, 0, 1, 0])
    assert frame["size"].astype("object").where(frame["size"].notna(), None).tolist() == [
        "small",
        "large",
        None,
        "small",
    ]
    assert frame["size"].cat.categories.tolist() == ["small", "large"]
    assert frame["age"].dtype == frame["dead"].dtype == np.float64
    assert frame["pid"].tolist() == list("abcd")
    assert (table.n_read, table.left_out, table.clamped) == (4, {}, {"age": 1})


# --- every kind of source gives the same table -----------------------------------------------------------


def typed() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pid": list("abcd"), "age": [40, None, 17, 60], "size": ["small", "large", None, "small"],
            "dead": [True, False, True, False], "note": "x",
        }
    )  # fmt: skip


def test_csv(tmp_path: Path) -> None:
    check(read(csv(tmp_path), NAMES, SCHEMA, "pid", "curie"))


def test_csv_variants(tmp_path: Path) -> None:
    semicolons = CSV.replace(",", ";").replace("6e1", "60,0")
    for i, text in enumerate([
        CSV.replace("\n", "\r\n"), "\ufeff" + CSV, CSV.replace(",", "\t"), semicolons, CSV.replace(",", "|"),
        CSV.replace("small", '"small"').replace("40", '" 40 "').replace(",x", ',"x,""y\nz"""'),
    ]):  # fmt: skip
        check(read(csv(tmp_path, text, f"{i}.csv"), NAMES, SCHEMA, "pid"))
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(CSV.encode()))
    check(read(packed, NAMES, SCHEMA, "pid"))
    utf16 = csv(tmp_path, CSV.encode("utf-16"), "utf16.csv")
    check(read(Source(utf16, encoding="utf-16"), NAMES, SCHEMA, "pid"))
    check(read(csv(tmp_path, CSV, "data[1]*.csv"), NAMES, SCHEMA, "pid"))  # no pattern, a name


def test_parquet_and_folders(tmp_path: Path) -> None:
    typed().to_parquet(tmp_path / "one.parquet")
    check(read(tmp_path / "one.parquet", NAMES, SCHEMA, "pid"))
    folder = tmp_path / "many"
    (folder / "2020").mkdir(parents=True)
    typed()[:2].to_parquet(folder / "2020" / "a.parquet")
    typed()[2:].to_parquet(folder / "b.parquet")
    check(read(folder, NAMES, SCHEMA, "pid"))


def test_duckdb_files(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "records.duckdb"
    frame = typed()
    with duckdb.connect(str(path)) as connection:
        connection.register("frame", frame)
        connection.execute("create table breast as select * from frame")
    check(read(path, NAMES, SCHEMA, "pid"))
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table lung as select 1 as x")
    check(read(Source(path, table="breast"), NAMES, SCHEMA, "pid"))
    with pytest.raises(DataError, match="say which table to read; it has breast, lung"):
        read(path, NAMES, SCHEMA, "pid")
    with pytest.raises(DataError, match="no table 'brest'; did you mean 'breast'"):
        read(Source(path, table="brest"), NAMES, SCHEMA, "pid")


def test_pandas() -> None:
    check(read(typed(), NAMES, SCHEMA, "pid"))
    check(read(typed().astype({"size": "category", "pid": "category"}), NAMES, SCHEMA, "pid"))
    mixed = typed().astype("object")
    check(read(mixed, NAMES, SCHEMA, "pid"))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_numbers_of_a_frame_are_read_as_they_would_be_from_a_query(data: st.DataObject) -> None:
    """The columns that are numbers already are taken as they stand; the twin asks DuckDB, as for every other source."""
    n = data.draw(st.integers(1, 8))

    def values(kind: type[Any], low: float, high: float) -> list[Any]:
        elements = st.floats(low, high) | st.just(np.nan) if kind is float else st.integers(int(low), int(high))
        return data.draw(st.lists(elements, min_size=n, max_size=n))

    frame = pd.DataFrame({
        "pid": [f"p{i}" for i in range(n)], "age": values(float, -1e300, 150), "dose": values(int, 0, 250),
        "small": np.array(values(float, -8, 8), dtype=np.float32), "dead": np.array(values(int, 0, 1), dtype=bool),
        "size": data.draw(st.lists(st.sampled_from(["small", "large", None]), min_size=n, max_size=n)),
    })  # fmt: skip
    columns = [c for c in frame if c != "pid"]
    direct, queried = read(frame, columns, SCHEMA), read(frame, columns, SCHEMA, "pid")
    pd.testing.assert_frame_equal(direct.frame, queried.frame.drop(columns="pid"))
    assert (direct.n_read, direct.left_out, direct.clamped) == (queried.n_read, queried.left_out, queried.clamped)
    for column in columns[:-1]:
        odd = frame.astype({column: float})
        odd.loc[0, column] = np.inf
        for person in (None, "pid"):
            with pytest.raises(DataError, match=f"column '{column}' has 1 infinite values"):
                read(odd, columns, SCHEMA, person)


def test_what_is_read_of_a_frame_cannot_be_written() -> None:
    source = pd.DataFrame({"dose": [1.0, 2.0]})
    values = read(source, ["dose"], SCHEMA).frame["dose"].to_numpy()
    assert np.shares_memory(values, source["dose"].to_numpy())
    assert not values.flags.writeable


def test_an_empty_hospital_is_a_table_without_rows(tmp_path: Path) -> None:
    table = read(csv(tmp_path, CSV.splitlines()[0]), NAMES, SCHEMA, "pid")
    assert (table.n_read, len(table.frame)) == (0, 0)
    assert table.frame["size"].cat.categories.tolist() == ["small", "large"]


def test_whole_numbers_are_levels(tmp_path: Path) -> None:
    schema = Schema.from_dict({"grade": {"levels": [1, 2, 3]}})
    for source in (pd.DataFrame({"grade": [1.0, 3.0, None]}), csv(tmp_path, "grade\n1\n 3\n\n")):
        assert read(source, ["grade"], schema).frame["grade"].cat.codes.tolist() == [0, 2, -1]


# --- only what is named is read --------------------------------------------------------------------------


def test_other_columns_do_not_matter(tmp_path: Path) -> None:
    poison = CSV.replace("note", "remarque").replace(",x", ",1e999é").encode("latin-1")
    check(read(csv(tmp_path, poison), NAMES, SCHEMA, "pid"))
    frame = typed()
    frame["when"] = pd.Timestamp("2020-01-01")
    frame["things"] = [[1], {}, object(), None]
    check(read(frame, NAMES, SCHEMA, "pid"))


def test_the_query_names_the_columns(tmp_path: Path) -> None:
    from confrere.data.sources import _open

    typed().to_parquet(tmp_path / "one.parquet")
    for path in (csv(tmp_path), tmp_path / "one.parquet"):
        rows = _open(path, ["age"], "curie").rows
        assert rows.columns == ("age",)
        assert "note" not in rows.query


@pytest.mark.parametrize("kind", ["csv", "parquet", "duckdb", "frame"])
def test_names_and_levels_are_never_read_as_a_query(kind: str, tmp_path: Path) -> None:
    """They are a researcher's; whatever they hold, they name a column, or are compared with what stands in one."""
    import duckdb

    odd, levels = """a"::VARCHAR, (SELECT 'x') AS "b'; DROP TABLE t; --""", ("it's", "') OR ('1' = '1", 'a"b', "a\\'b")
    frame = pd.DataFrame({"pid": list("abcd"), odd: ["1", "2", None, "4"], "size": levels})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    with duckdb.connect(str(tmp_path / "t.duckdb")) as connection:
        connection.register("frame", frame)
        connection.execute("create table t as select * from frame")
    schema = Schema({"size": Column("size", levels)})
    source = frame if kind == "frame" else tmp_path / f"t.{kind}"
    for one in (source, Without(source, "pid", {"'); DROP TABLE t; --"})):
        table = read(one, [odd, "size"], schema, "pid")
        np.testing.assert_array_equal(table.frame[odd], [1, 2, np.nan, 4])
        assert table.frame["size"].cat.codes.tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="2 rows with levels that the study does not declare"):
        read(source, ["size"], Schema({"size": Column("size", levels[:2])}), "pid")


def test_text_is_the_same_in_both_languages() -> None:
    """Of one table in our SQL, of OMOP records in Ibis."""
    import ibis
    import pyarrow as pa

    from confrere.data.sources import _memory
    from confrere.data.sources_query import Rows
    from confrere.data.without import text

    people = pa.table({
        "words": [" a ", "\tNA\n", "", None, "na", "1.0", "\x0b x\x0c\r"], "whole": [1, -2, None, 0, 7, 8, 9],
        "parts": [1.0, -2.5, None, float("nan"), 1e15, 1e17, 3.0],
        "small": pa.array([1.0, 0.1, None, 2.0, 3.0, -0.0, 1e10], pa.float32()),
        "yes": [True, False, None, True, True, True, True],
    })  # fmt: skip
    rows, twin = Rows.of(_memory(), people), ibis.memtable(people)
    for name in people.column_names:
        ours = rows.fetched({"it": rows.text(name)})["it"].to_pylist()
        assert ours == twin.select(it=text(twin[name])).to_pyarrow()["it"].to_pylist()
    assert rows.fetched({"it": rows.text("parts")})["it"].to_pylist()[:4] == ["1", "-2.5", None, None]
    rows.close()


def test_memory_is_that_of_the_named_columns(tmp_path: Path) -> None:
    n, wide = 100_000, ",".join(["abcdefghij" * 4] * 10)
    path = csv(tmp_path, "age," + ",".join(f"t{i}" for i in range(10)) + "\n" + f"50,{wide}\n" * n)  # 41 MB
    read(path, ["age"], SCHEMA)  # modules and buffers are there already
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table = read(path, ["age"], SCHEMA)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(table.frame) == n
    assert grown < 30_000  # kilobytes; the file has 41,000


# --- bad input: what, where, what to do ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("age", "aeg", "curie: .*curie.csv: there is no column 'age'; did you mean 'aeg'"),
        ("size", "Size", "no column 'size'; did you mean 'Size'"),
        ("note", "age", "column 'age' stands there more than once"),
        ("large", "huge", "'size' has 1 row with levels that the study does not declare: 'huge'. .*small, large"),
        ("large", "Large", "is 'Large' meant to be 'large'"),
        ("40", "forty", r"column 'age' holds text in 1 row; .*\[data.columns.age\] levels = "),
        ("40", "1_000", "holds text in 1 row;"),
        ("40", "0x1F", "holds text in 1 row;"),
        ("40", "2020-01-31", "holds dates in 1 row; .*days since diagnosis"),
        ("40", "31/01/2020", "holds dates in 1 row"),
        ("40", '"40,5"', r'decimal comma in 1 row; give decimal = ","'),
        ("40", "inf", "'age' has 1 infinite values"),
        ("40", "-Infinity", "'age' has 1 infinite values"),
        ("40", "1e999", "'age' has 1 infinite values|hold text"),
        ("b,NA", "a,NA", "'pid' names 1 people more than once; one row per person"),
        ("1,x", "1,x,y", "line 2: the row has more or fewer values than the header"),
        ("1,x", "1", "line 2: the row has more or fewer values than the header"),
        ("small,1", '"small,1', "line 2: a quotation mark is not closed"),
    ],
)
def test_bad_rows(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(csv(tmp_path, CSV.replace(old, new, 1)), NAMES, SCHEMA, "pid", "curie")
    for value in ("forty", "1_000", "2020", "40,5", "NA,large"):
        assert value not in str(caught.value).split("curie.csv")[1]


@pytest.mark.parametrize(
    "text", ["1f", "0b1", "1 000", "5d", "1e", "--1", "+ 5", ".", "-", "1.2.3", "5%", "1/2", "∞", "> 5"]
)
def test_what_is_no_number(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="holds text in 1 row;"):
        read(csv(tmp_path, f"dose,x\n{text},1\n2,1\n"), ["dose"], SCHEMA)


def test_what_is_a_number(tmp_path: Path) -> None:
    path = csv(tmp_path, "dose,x\n 5 ,1\n+5,1\n5.,1\n.5e1,1\n5E0,1\nNaN,1\n,1\n")
    np.testing.assert_array_equal(read(path, ["dose"], SCHEMA).frame["dose"], [5, 5, 5, 5, 5, np.nan, np.nan])


def test_decimal_commas(tmp_path: Path) -> None:
    path = csv(tmp_path, CSV.replace("40", '"40,5"'))
    assert read(Source(path, decimal=","), NAMES, SCHEMA, "pid").frame["age"][0] == 40.5
    thousands = csv(tmp_path, CSV.replace(",", ";").replace("40", "1.040,5"))
    with pytest.raises(DataError, match="holds text in 1 row;"):
        read(thousands, NAMES, SCHEMA, "pid")


def test_other_encodings(tmp_path: Path) -> None:
    schema = Schema({**SCHEMA.columns, "size": Column("size", ("small", "énorme"))})
    path = csv(tmp_path, CSV.replace("large", "énorme").encode("latin-1"))
    with pytest.raises(DataError, match=r'line 3: the file is not UTF-8; .*encoding = "latin-1".*iconv'):
        read(path, NAMES, schema, "pid")
    assert read(Source(path, encoding="latin-1"), NAMES, schema, "pid").frame["size"][1] == "énorme"
    header = csv(tmp_path, CSV.replace("note", "résumé").encode("latin-1"))
    with pytest.raises(DataError, match=r'the header is not UTF-8; give encoding = "latin-1"'):
        read(header, NAMES, SCHEMA, "pid")
    with pytest.raises(DataError, match=r"encoding 'cp1252' is not known; .*iconv -f cp1252 -t utf-8"):
        read(Source(path, encoding="cp1252"), NAMES, schema)


def test_bad_sources(tmp_path: Path) -> None:
    csv(tmp_path)
    for source, message in [
        (tmp_path / "cuire.csv", "there is no such file; did you mean 'curie.csv'"),
        (csv(tmp_path, "", "empty.csv"), "the file is empty"),
        (csv(tmp_path, "x", "a.xlsx"), "unknown kind of file '.xlsx'; known are .csv"),
        (csv(tmp_path, "PAR1", "a.parquet"), "DuckDB cannot read it"),
        (csv(tmp_path, "no database", "a.duckdb"), "DuckDB cannot read it"),
        (tmp_path / "folder", "holds no .parquet file"),
        (Source(tmp_path / "curie.csv", separator=";;"), "a separator is one character"),
        (Source(tmp_path / "curie.csv", separator=";"), "there is no column 'pid'"),
        (Source(tmp_path / "curie.csv", decimal="x"), "decimal is"),
        (3, "cannot read from a int"),
    ]:
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=f"curie: .*{message}|curie: {message}"):
            read(source, NAMES, SCHEMA, "pid", "curie")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no columns to read"):
        read(tmp_path / "curie.csv", [], SCHEMA)


def test_dates_in_typed_sources() -> None:
    frame = typed()
    frame["age"] = pd.Timestamp("2020-01-01")
    with pytest.raises(DataError, match="column 'age' holds dates; give numbers, such as days since diagnosis"):
        read(frame, NAMES, SCHEMA, "pid")
    frame = typed()
    frame["age"] = [1.0, np.inf, 2.0, 3.0]
    with pytest.raises(DataError, match="'age' has 1 infinite values"):
        read(frame, NAMES, SCHEMA, "pid")


def test_people_without_an_id_are_left_out_and_counted(tmp_path: Path) -> None:
    table = read(csv(tmp_path, CSV.replace("b,NA", ",NA").replace("\nc,", "\nNA,")), NAMES, SCHEMA, "pid")
    assert table.frame["pid"].tolist() == ["a", "d"]
    assert table.left_out == {"no person id in column 'pid'": 2}
    assert table.n_read == 4


def test_repeated_people_when_the_study_allows_them(tmp_path: Path) -> None:
    path = csv(tmp_path, CSV.replace("b,NA", "a,NA"))
    assert read(path, NAMES, SCHEMA, "pid", repeated=True).frame["pid"].tolist() == list("aacd")


@pytest.mark.parametrize("ids", [["a", "b", "c", "d"], [1.0, 2.0, 3.0, 4.0], ["a", None, "c", "d"]])
def test_numbers_of_a_frame_are_taken_as_they_stand_and_stay_beside_their_person(ids: list[Any]) -> None:
    """As if they had gone through the engine: of whoever has no id, nothing stays."""
    frame = pd.DataFrame({"pid": ids, "size": ["small", "large", None, "small"], "dead": [1, 0, 1, 0]})
    frame["age"] = [40.0, np.nan, 17.0, 60.0]
    given, queried = read(frame, NAMES, SCHEMA, "pid"), read(frame.astype({"dead": object}), NAMES, SCHEMA, "pid")
    assert given.frame.equals(queried.frame)
    assert given.left_out == queried.left_out
    assert given.clamped == queried.clamped == {"age": 1}
    assert given.frame["dead"].tolist() == [1.0 - i % 2 for i, one in enumerate(ids) if one is not None]
