"""The method `worklist`: its settings, its funnel under the gate, and that no path carries a row out."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from attacks.network import Network
from attacks.people import Table
from confrere import wire
from confrere.analyses.worklist import Screening
from confrere.console import local
from confrere.console.local import Local
from confrere.console.result import as_dict
from confrere.errors import DataError, FormulaError, ModelError, Refused, StudyError, UserError
from confrere.hospital.manifest import manifest
from confrere.report import write
from confrere.rounds import Design, Flow, People, Sum, ask, drive, keep, register, support
from confrere.rounds import local as step
from confrere.study import build
from confrere.study.file import parse
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.study.worklist import Worklist
from federate import GATE, fit

GROUND = Ground(Schema({"size": Column("size", ("<=50", ">50"))}), person="pid")
STUDY = """
[study]
id = "to-be-seen"
title = "Who should be seen"
purpose = "care"
[data]
table = "people"
person = "pid"
[data.columns.size]
levels = ["<=50", ">50"]
[[analysis]]
name = "elderly"
method = "worklist"
title = "Large tumours over 65"
purpose = "a geriatric assessment"
criteria = ["age >= 65", "size == '>50'"]
show = ["age", "size", "marker"]
order_by = "-age"
"""


def people(n: int = 300, hospital: str = "h", seed: int = 1) -> pd.DataFrame:
    """People with ids and values that occur nowhere else, of whom some miss one."""
    rng = np.random.default_rng(seed)
    size = pd.Series(rng.choice(["<=50", ">50"], n)).mask(rng.random(n) < 0.1)
    return pd.DataFrame({
        "pid": [f"patient-{hospital}-{i}" for i in range(n)],
        "age": [55 + i % 30 + 0.123456789 + i * 1e-7 for i in range(n)],
        "size": size,
        "marker": [1e6 + 0.987654321 + i * 1e-6 for i in range(n)],
    })  # fmt: skip


def hospitals(n: int = 300) -> dict[str, pd.DataFrame]:
    """Three of them."""
    return {name: people(n, name, seed) for seed, name in enumerate(("curie", "lyon", "paris"))}


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """As a source gives it."""
    return frame.assign(size=pd.Categorical(frame["size"], GROUND.schema.levels("size")))


def screening(*criteria: str, **settings: Any) -> Screening:
    return Screening("T", criteria or ("age >= 65",), **({"ground": GROUND} | settings))


# settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"criteria": "age > 3"}, "is the text"),
        ({"criteria": ()}, "1 to 50"),
        ({"criteria": ("age > 3",) * 2}, "more than once"),
        ({"criteria": tuple(f"age > {i}" for i in range(51))}, "1 to 50"),
        ({"show": "age"}, "is the text"),
        ({"show": ("age", "age")}, "more than once"),
        ({"title": " "}, "clinicians will recognise"),
        ({"title": "a\nb"}, "clinicians will recognise"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        Screening(**({"title": "T", "criteria": ("age > 3",), "ground": GROUND} | settings))


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ('person = "pid"', StudyError, r"\[data\], the column of person ids"),
        ('"age >= 65"', FormulaError, "compares nothing"),
        ("\"size == '>50'\"", StudyError, "'pid', the column of person ids"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_anything_is_asked(
    line: str, kind: type[UserError], says: str
) -> None:
    other = {'person = "pid"': "", '"age >= 65"': '"age"', "\"size == '>50'\"": '"pid > 3"'}[line]
    with pytest.raises(kind, match=says) as error:
        build.analyses(parse(STUDY.replace(line, other)))
    assert "elderly" in str(error.value)


def test_the_columns_of_the_study_are_those_it_reads() -> None:
    (made,) = build.analyses(parse(STUDY))
    assert build.columns_of([made]) == ["age", "marker", "size"]
    assert screening("age > 3 and size == '>50'").shown == ("age", "size")


@pytest.mark.parametrize("settings", [{"show": ("height",)}, {"order_by": "-height"}])
def test_a_column_that_is_not_there_is_named_before_a_number_leaves(settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="no column 'height'"):
        fit(screening(**settings), [typed(f) for f in hospitals().values()])


def test_a_criterion_that_nobody_answers_is_named() -> None:
    frames = [typed(f).assign(age=lambda f: f["age"].where(f.index < 3)) for f in hospitals().values()]
    with pytest.raises(ModelError, match=r"'age >= 65' is unknown for .* 'age'\. Correct the column"):
        fit(screening(), frames)  # nine of them know it, fewer than k


# the funnel


def counts(analysis: Screening, frames: list[pd.DataFrame]) -> list[int | None]:
    """What the funnel tells under the gate; a count is null if and only if it says so."""
    records = fit(analysis, frames, GATE).tables["funnel"]
    assert [r["n"] is None for r in records] == ["suppressed" in r for r in records]
    return [r["n"] for r in records]


def steps(*sizes: int) -> list[pd.DataFrame]:
    """People of age 0, 1, 2, ..., so many of each, dealt to three hospitals."""
    age = np.repeat(np.arange(len(sizes), dtype=float), sizes)
    frame = pd.DataFrame({"pid": [f"p{i}" for i in range(len(age))], "age": age, "size": "<=50"})
    return [typed(frame[i::3]) for i in range(3)]


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((20, 30, 40), [90, 70, 40, 40]),
        ((20, 0, 40), [60, 40, 40, 40]),  # a step that rules nobody out
        ((0, 0, 40), [40, 40, 40, 40]),
        ((20, 30, 0), [50, 30, 0, 0]),  # nobody is left
        ((20, 1, 40), [61, None, 40, 40]),  # 21 together; the second edge is who is on the list
        ((10, 30, 40), [80, None, 40, 40]),
        ((20, 30, 10), [60, 40, None, None]),  # fewer than 11 on the list, told with the last step
        ((5, 5, 40), [50, None, None, None]),
        ((5, 6, 40), [51, None, 40, 40]),
    ],
)
def test_successive_counts_differ_by_nobody_or_by_at_least_k(sizes: tuple[int, ...], told: list[int | None]) -> None:
    found = counts(screening("age > 0", "age > 1"), steps(*sizes))
    assert found == told
    shown = [n for n in found if n is not None]
    assert all(a == b or a - b >= 11 for i, a in enumerate(shown) for b in shown[i:])


@pytest.mark.parametrize(("checked", "told"), [(0, 40), (5, None), (11, 40)])
def test_who_is_to_be_checked_is_not_told_if_few(checked: int, told: int | None) -> None:
    frame = pd.concat(steps(20, 30, 40 + checked), ignore_index=True)
    frame.loc[frame.index[frame["age"] == 2][:checked], "size"] = np.nan
    found = counts(screening("age > 0", "age > 1", "size == '<=50'"), [frame[i::3] for i in range(3)])
    assert found == [90 + checked, 70 + checked, 40 + checked, 40 + checked, told]


def test_close_cuts_do_not_single_anybody_out() -> None:
    """A tracker within a study: thirty cuts, each of which rules two more people out."""
    found = counts(screening(*(f"age > {i}" for i in range(30))), steps(*[2] * 30, 40))
    shown = [n for n in found if n is not None]
    assert len(shown) < len(found) / 4
    assert all(a == b or a - b >= 11 for a, b in itertools.pairwise(shown))


def test_two_studies_whose_cuts_are_close_are_a_tracker() -> None:
    """At 65, then at 66: the difference would be whoever is 65. The guard across studies sees the sets."""
    from confrere.hospital.populations import Here, cohorts_of
    from federate import table

    here = Here("curie", ("curie", "lyon", "paris"), "cut", 11)
    made = []
    for cut in (65, 66):
        study = parse(STUDY.replace("age >= 65", f"age>={cut}"))
        made.append(cohorts_of(study, build.analyses(study), table(typed(people())), here))
    one, other = (next(c.rows for c in found if c.family and not c.rows.all()) for found in made)
    assert len({c.family for found in made for c in found if c.family}) == 1
    assert 0 < np.count_nonzero(one ^ other) < 11
    assert (one == (people()["age"] >= 65)).all()


# the manifest and the report


def test_the_manifest_says_that_the_rows_stay() -> None:
    entries = manifest(parse(STUDY)).entries
    (stays,) = [e for e in entries if e.kind == "keep"]
    assert (stays.step, stays.bounds, stays.bytes) == ("listed", (), 0)
    assert "their rows stay in the hospital" in stays.does
    assert [(e.step, e.name, e.bounds) for e in entries if e.kind == "ask"] == [("counted", "people", (1, 4))]


def test_the_manifest_on_a_terminal_says_so_too() -> None:
    from confrere.console.show import listed, text

    said = text(listed(parse(STUDY), manifest(parse(STUDY))))
    assert "the rows stay in each hospital; nothing leaves" in said


@pytest.mark.parametrize(("lang", "words"), [
    ("en", ["Eligibility screening", "Not ruled out", "stay in each hospital, as a worklist"]),
    ("fr", ["Présélection des patients éligibles", "Non exclus", "restent dans chaque hôpital", "Entonnoir"]),
])  # fmt: skip
def test_the_report_has_the_funnel(tmp_path: Path, lang: Any, words: list[str]) -> None:
    results = Local(hospitals()).run(parse(STUDY))
    page = write(as_dict(results), tmp_path, lang=lang).report.read_text(encoding="utf-8")
    assert not [word for word in words if word not in page]


# nothing leaves


class Wire:
    """Everything that crossed the links, and what was searched for."""

    def __init__(self) -> None:
        self.crossed: list[bytes] = []

    def link(self, link: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        """The same link, listened to."""

        def send(message: bytes) -> bytes:
            reply = link(message)
            self.crossed += [message, reply]
            return reply

        return send


class Tapped(Network):
    """A network that is listened to."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        self.wire = Wire()
        super().__init__(*given, **settings)

    def _link(self, name: str) -> Callable[[bytes], bytes]:
        return self.wire.link(super()._link(name))


def carried(where: bytes, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Which ids and values are in these bytes: as text, and as floating numbers of either order."""
    found = ["an id"] if b"patient-" in where else []
    for frame in frames.values():
        for value in (*frame["age"], *frame["marker"]):
            forms = (repr(value).encode()[:12], struct.pack("<d", value), struct.pack(">d", value))
            found += [repr(value) for form in forms if form in where]
    return found


def test_the_search_finds_what_it_is_for() -> None:
    """A control."""
    frames = hospitals(3)
    value = frames["lyon"]["age"][1]
    assert carried(b"patient-curie-1", frames) == ["an id"]
    for where in (
        f"x{value:.17g}".encode(),
        struct.pack("<d", value),
        wire.pack({"a": value}),
        json.dumps([value]).encode(),
    ):
        assert carried(b"..." + where, frames)


def test_no_row_leaves_a_local_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any, capfd: Any) -> None:
    """Messages, result, report, figures, tables, logs, terminal."""
    tapped, frames, runs = Wire(), hospitals(), []
    federation = local.Federation

    def listened(links: Mapping[str, Any], *given: Any, **more: Any) -> Any:
        runs.extend(link.answer.__self__ for link in links.values())
        return federation({name: tapped.link(link) for name, link in links.items()}, *given, **more)

    monkeypatch.setattr(local, "Federation", listened)
    with caplog.at_level("DEBUG"):
        results = Local(frames).run(parse(STUDY))
        write(as_dict(results), tmp_path, lang="en")
    lists = [run.site.kept["worklist", "listed"] for run in runs]
    assert all(len(found.rows) > 50 for found in lists)  # they were made, with the ids
    assert {p.split("-")[1] for found in lists for p in found.rows["pid"]} == set(frames)
    said = capfd.readouterr()
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert len(tapped.crossed) > 20
    for where in (b"\0".join(tapped.crossed), written, caplog.text.encode(), (said.out + said.err).encode()):
        assert not carried(where, frames)
    assert "patient-" not in repr(results) + repr(results["elderly"]) + repr(lists)


@pytest.mark.parametrize(("spoil", "why"), [
    (lambda f: f.assign(age=[*f["age"][:-1], np.inf]), "infinite"),
    (lambda f: f.assign(size=[*f["size"][:-1], "patient-size"]), "no declared level"),
    (lambda f: f.assign(pid=f["pid"].where(f.index > 200, "patient-twice")), "each person once"),
    (lambda f: f.assign(marker=f["pid"]), "holds text"),
])  # fmt: skip
def test_no_error_carries_a_row_over_a_link(spoil: Any, why: str) -> None:
    """The first hospital's records are wrong; whatever is raised there, one word crosses."""
    frames = hospitals()
    frames["curie"] = spoil(frames["curie"])
    (made,) = build.analyses(parse(STUDY))
    network = Tapped(made.flow, {name: Table(frame) for name, frame in frames.items()}, columns=3)
    with pytest.raises(Refused) as error:
        network.drive()
    assert why in network.reasons[0]
    assert len(network.wire.crossed) > 10
    for where in (b"\0".join(network.wire.crossed), str(error.value).encode(), network.reasons[0].encode()):
        assert not carried(where, hospitals())


# hostile methods


class Rows(NamedTuple):
    """What a hostile step gives for a sum."""

    people: Sum


@register("_hostile worklist")
@dataclass(frozen=True)
class Hostile:
    """A method that tries to get rows out in the way of its `fault`."""

    fault: str

    def design(self, people: People) -> Design:
        """Everybody."""
        frame = people.table.frame
        return Design(n=len(frame), rows=np.ones(len(frame), dtype=bool), columns=("age",))

    @step(on="design")
    def kept(self, people: People) -> Worklist:
        """A list."""
        found = Worklist("T", "", (), people.table.frame[["pid", "age"]], ((),) * len(people.table.frame))
        if self.fault == "an error with rows in it":
            raise ValueError(str(found.rows))
        return found

    @step(on="design")
    def asked(self, people: People) -> Rows:
        """What was kept, as if it were sums."""
        found: Any = people.kept["kept"]
        forms: dict[str, Callable[[], Any]] = {
            "the list itself": lambda: found,
            "a list among sums": lambda: Rows(found),
            "rows in a tuple": lambda: (found.rows,),
            "texts for numbers": lambda: Rows(Sum(found.rows["pid"].to_numpy(), ("p",), (10**6,))),
            "ids for numbers": lambda: Rows(Sum(found.rows["age"].to_numpy(), ("p",), (3,))),
            "a dict": lambda: {"people": found.rows.to_dict()},
        }
        return forms[self.fault]()  # type: ignore[no-any-return]

    def flow(self) -> Flow[Any]:
        """Keep, then ask for what was kept."""
        yield from support(self.design)
        kept = yield from keep(self.kept)
        assert kept is None
        if self.fault == "the list asked for":
            return (yield from ask(self.kept))  # type: ignore[type-var]
        return (yield from ask(self.asked))


@pytest.mark.parametrize("fault", [
    "the list itself", "a list among sums", "rows in a tuple", "texts for numbers", "ids for numbers", "a dict",
    "the list asked for", "an error with rows in it",
])  # fmt: skip
def test_a_kept_result_that_is_returned_through_an_ask_does_not_leave(fault: str) -> None:
    frames = hospitals(40)
    network = Tapped(lambda: Hostile(fault).flow(), {n: Table(f) for n, f in frames.items()}, columns=1)
    with pytest.raises(Refused) as error:
        network.drive()
    assert network.reasons
    assert "patient-" not in str(error.value)
    assert not carried(b"\0".join(network.wire.crossed), frames)


def test_the_coordinator_cannot_ask_for_what_is_kept() -> None:
    """It changes `keep` into `ask` on the way."""
    frames = {n: Table(typed(f)) for n, f in hospitals().items()}
    (made,) = build.analyses(parse(STUDY))

    def tamper(name: str, message: dict[str, Any]) -> dict[str, Any]:
        if message["do"] == "round":
            message = message | {"asks": tuple(dict(a) | {"kind": "ask"} for a in message["asks"])}
        return message

    network = Tapped(made.flow, frames, columns=3, tamper=tamper)
    with pytest.raises(Refused):
        network.drive()
    assert "asks what the study does not ask" in network.reasons[0]
    assert not carried(b"\0".join(network.wire.crossed), hospitals())


def test_a_hospital_with_few_people_keeps_its_list_all_the_same() -> None:
    """It takes part in the funnel with nothing; its clinicians are not the network."""
    frames = {n: Table(typed(f)) for n, f in (hospitals() | {"small": people(5, "small")}).items()}
    analysis = replace(screening("age >= 20"), order_by="age")
    network = Network(analysis.flow, frames, columns=1)
    network.coordinator.open()
    finding = drive(build_flow(analysis), network.coordinator.answer)
    assert finding.n == 900
    assert len(network.runs["small"].site.kept["worklist", "listed"].rows) == 5


def build_flow(analysis: Screening) -> Flow[Any]:
    """As hospitals follow it."""
    from confrere.rounds import supported

    return supported(analysis.flow())
