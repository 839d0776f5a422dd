"""Bad input: one message on stderr that says what, where and what to do; an exit code; never a traceback or a value.

Every case goes through the command line, and again through Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import confrere as cf
from confrere.console.explain import sections
from confrere.errors import ConfrereError, DataError, FormulaError, ModelError, Refused, StudyError
from confrere.hospital.gate import CONSENT

from .command import STUDY, Change, Frames, Ran, Shell, breast, csvs, program

ODD = 7_431_877  # a patient's value that no message may hold
LOGISTIC = ("cox", "logistic"), ("Surv(rtime, recur)", "recur")
Edits = tuple[tuple[str, str], ...]


LEVELS = "[data.columns.size]\nlevels"
HEAD = 'name = "recurrence"'
MORE = "-> errors.md#studyerror (confrere explain studyerror)\n"


class Case(NamedTuple):
    """What is wrong, and how it is answered: the kind of error, words of the message."""

    name: str
    kind: type[ConfrereError]
    says: tuple[str, ...]
    frames: Change = lambda frames: None
    study: Edits = ()
    people: int | None = 200

    @property
    def code(self) -> int:
        return self.kind.exit_code


def put(column: str, value: Any, rows: Any = 3, hospital: str = "gouda") -> Change:
    """Set a cell of one hospital."""

    def change(frames: Frames) -> None:
        frame = frames[hospital]
        frame[column] = frame[column].astype(object)
        frame.loc[rows, column] = value

    return change


def everywhere(**columns: Any) -> Change:
    """Set columns of every hospital; functions are given its frame."""
    return lambda frames: [frames.update({n: f.assign(**columns)}) for n, f in list(frames.items())]


def entered(frames: Frames) -> None:
    everywhere(entry=0)(frames)
    frames["gouda"].loc[[3, 4], "entry"] = ODD


def heads(**people: int) -> Change:
    return lambda frames: [frames.update({name: frames[name].head(n)}) for name, n in people.items()]


def rare(frames: Frames) -> None:
    """Six people with a large tumour, all in one hospital."""
    for name, frame in frames.items():
        few = frame.index < (6 if name == "gouda" else 0)
        frame["size"] = np.where(few, ">50", np.where(frame["size"] == ">50", "20-50", frame["size"]))


DATA = [
    Case("wrong column", DataError,
         ("delft.csv", "no column 'nodez'", "did you mean 'nodes'?"), study=(("nodes", "nodez"),)),
    Case("undeclared level", DataError,
         ("gouda.csv", "'size'", "1 row", "does not declare", "'>5O'", "meant to be '>50'"),
         put("size", ">5O")),
    Case("text in a number", DataError, ("gouda.csv", "column 'nodes' holds text", "[data.columns.nodes]"),
         put("nodes", f"about {ODD}")),
    Case("dates for times", DataError, ("gouda.csv", "'rtime' holds dates in 200 rows", "days since"),
         put("rtime", "2011-05-21", slice(None))),
    Case("a decimal comma", DataError, ("gouda.csv", "'age' has a decimal comma", 'decimal = ","'), put("age", "61,5")),
    Case("negative times", DataError, ("gouda.csv", "negative", "0 or more"), put("rtime", -ODD)),
    Case("entry after exit", DataError, ("gouda.csv", "2 people enter at or after their exit", "mend"), entered,
         (("Surv(rtime", "Surv(entry, rtime"),)),
    Case("duplicate person", DataError, ("gouda.csv", "'pid'", "1 people more than once", "one row per person"),
         lambda frames: frames["gouda"].__setitem__("pid", [ODD, ODD, *frames["gouda"]["pid"][2:]])),
    Case("infinite values", DataError,
         ("gouda.csv", "'nodes' has 1 infinite", "make them missing"), put("nodes", "inf")),
    Case("a status coded 1 and 2", DataError, ("delft.csv", "'recur' is neither 0 nor 1", "recur == 2"),
         everywhere(recur=lambda f: f.recur + 1)),
    Case("log of 0", DataError, ("'log(nodes)' does not exist for", "log(x + 1)"), study=(("nodes", "log(nodes)"),)),
]  # fmt: skip

MODELS = [
    Case("level absent everywhere", ModelError,
         ("'recurrence'", "C(size)[T.none]", "none has this level", "Leave it out"),
         study=(('">50"]', '">50", "none"]'),)),
    Case("all censored", ModelError,
         ("no events: everybody is censored", "Check the event column"), everywhere(recur=0)),
    Case("a constant term", ModelError,
         ("'nodes' is constant over all hospitals", "Leave it out"), everywhere(nodes=3)),
    Case("constant within hospitals", ModelError, ("'nodes' is constant within every hospital", 'baseline = "shared"'),
         lambda frames: [f.__setitem__("nodes", i) for i, f in enumerate(frames.values())]),
    Case("collinear terms", ModelError, ("'nodes' is collinear with 'age'", "leave one of them out"),
         everywhere(nodes=lambda f: 2 * f.age + 1)),
    Case("separation by a level", ModelError, ("'nodes' separates the outcome: everybody", "ridge"),
         everywhere(nodes=lambda f: f.recur), LOGISTIC),
    Case("separation by a number", ModelError, ("separate", "ridge"),
         everywhere(nodes=lambda f: 20 * f.recur + f.nodes.clip(0, 9)), LOGISTIC),
]  # fmt: skip

STUDIES = [
    Case("a forbidden function", FormulaError, ("recurrence", "np.savetxt() is not an allowed", "without a prefix"),
         study=(("nodes", "np.savetxt(nodes)"),)),
    Case("a private name", FormulaError, ("'__import__'", "private names are not allowed"),
         study=(("nodes", "__import__('os')"),)),
    Case("levels not declared", FormulaError, ("'C(size)'", "not declared", "[data.columns.size]"),
         study=(("[data.columns.size]\nlevels", "[data.columns.meno]\nlevels"),)),
    Case("a misspelt setting", StudyError, ("'recurrence' (cox)", "'formulla'", "did you mean 'formula'?"),
         study=(("formula", "formulla"),)),
    Case("a misspelt key", StudyError,
         ("study.toml, line 9", "level", "did you mean 'levels'?"), study=(("levels", "level"),)),
    Case("a misspelt table", StudyError,
         ("study.toml, line 1", "did you mean 'study'?"), study=(("[study]", "[studi]"),)),
    Case("an unknown method", StudyError,
         ("recurrence", "'coxx' is not known", "did you mean 'cox'?"), study=(("cox", "coxx"),)),
    Case("a wrong type", StudyError, ("study.toml", "table"), study=(('"breast"', "3"),)),
    Case("no TOML", StudyError, ("study.toml is not valid TOML", "line 6", "quotes"), study=(('"breast"', "breast"),)),
    Case("a laxer k", StudyError,
         ("5 must be 11 or more", "never laxer"),
         study=(("[[analysis]]", "[disclosure]\nk = 5\n[[analysis]]"),)),
    Case("a group of strangers", StudyError, ("group names ['lyon']", "not hospitals of this run"),
         study=(('name = "recurrence"', 'name = "recurrence"\ngroup = ["delft", "gouda", "lyon"]'),)),
]  # fmt: skip

REFUSALS = [
    Case("fewer than three contribute", Refused,
         ("every hospital", "1 hospital", "at least 11 people", "a sum needs 3", "Invite"),
         heads(delft=10, gouda=4)),
    Case("a column that all of a hospital miss", Refused, ("2 hospitals", "'nodes' is missing for everybody at gouda"),
         put("nodes", None, slice(None))),
    Case("a rare level", Refused, ("C(size)[T.>50]", "fewer than 11 people", "merge its levels"), rare),
]  # fmt: skip


def prepared(case: Case, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Write the study and the hospitals of a case; gives the options and the files by hospital."""
    study = STUDY
    for old, new in case.study:
        assert old in study
        study = study.replace(old, new)
    (folder / "study.toml").write_text(study, encoding="utf-8")
    frames = breast(people=case.people)
    case.frames(frames)
    return csvs(folder, frames), {name: f"{name}.csv" for name in frames}


def explained(ran: Ran, case: Case) -> None:
    """One message, the exit code, no traceback, no value of a patient."""
    assert ran.code == case.code, ran.err
    assert ran.err.startswith("confrere: ")
    assert ran.err.count("confrere: ") == 1
    assert "Traceback" not in ran.err
    assert str(ODD) not in ran.err + ran.out
    for words in case.says:
        assert words in ran.err
    page, _, told = ran.err.splitlines()[-1].removeprefix("-> ").partition(" ")
    assert page.partition("#")[2] in sections("errors.md")
    assert told == f"(confrere explain {page.partition('#')[2]})"
    if case.kind is Refused:  # what, where, what to do; who sees it in a federation; and where more stands
        assert len(ran.err.splitlines()) == 3
        assert len(ran.err.replace(CONSENT, "")) < 400  # the sentence on a trial's sponsor comes on top


MONOTONE = Case(
    "monotone likelihood", ModelError, ("'nodes'", "separates", "ridge"), everywhere(nodes=lambda f: f.recur)
)


def test_a_monotone_likelihood_is_explained(shell: Shell) -> None:
    options, _ = prepared(MONOTONE, shell.folder)
    explained(shell("run", "study.toml", *options, "--out", "out"), MONOTONE)


@pytest.mark.parametrize("case", [*DATA, *MODELS, *STUDIES, *REFUSALS], ids=lambda case: case.name)
def test_bad_input_is_explained(case: Case, shell: Shell) -> None:
    options, files = prepared(case, shell.folder)
    explained(shell("run", "study.toml", *options, "--out", "out"), case)
    with pytest.raises(case.kind):  # of the study, or of its analysis
        cf.local(files).run("study.toml")["recurrence"]


# --- where the records are -------------------------------------------------------------------------------


def test_hospitals_that_are_named_wrong(shell: Shell) -> None:
    csvs(shell.folder, breast())
    (shell.folder / "study.toml").write_text(STUDY)
    for given, says in (
        (["a=delft.csv", "b=gouda.csv", "c=roterdam.csv"], "there is no such file; did you mean 'rotterdam.csv'?"),
        (["a=delft.csv", "a=gouda.csv", "c=rotterdam.csv"], "two hospitals are called 'a'; give each its own name"),
        (["a=delft.csv", "b=./delft.csv", "c=rotterdam.csv"], "'a' and 'b' are the same file ./delft.csv"),
        (["delft.csv", "b=gouda.csv", "c=rotterdam.csv"], "must be NAME=FILE, such as --hospital curie=curie.csv"),
        (["a,b=delft.csv", "b=gouda.csv", "c=rotterdam.csv"], "'a,b' cannot name a hospital"),
        (["a=delft.csv", "b=gouda.csv"], "2 hospitals were given; a sum needs three at least"),
        (["a=delft.csv"], "1 hospital was given; a sum needs three at least"),
        (["a=delft.xlsx", "b=gouda.csv", "c=rotterdam.csv"], "there is no such file; did you mean 'delft.csv'?"),
        (["a=.", "b=gouda.csv", "c=rotterdam.csv"], "the folder holds no .parquet file"),
        (["a=study.toml", "b=gouda.csv", "c=rotterdam.csv"], "unknown kind of file '.toml'; known are .csv"),
    ):
        ran = shell("run", "study.toml", *(part for item in given for part in ("--hospital", item)))
        assert (ran.code, ran.out, "Traceback" in ran.err) == (2, "", False)
        assert says in ran.err


def test_the_study_file_is_missing_or_in_another_encoding(shell: Shell) -> None:
    options = csvs(shell.folder, breast())
    ran = shell("run", "studi.toml", *options)
    assert ran.code == 2
    assert (
        ran.err == "confrere: cannot read the study file studi.toml: No such file or directory; check its path\n" + MORE
    )
    (shell.folder / "study.toml").write_bytes(STUDY.replace("Recurrence of", "Récidive du").encode("latin-1"))
    for arguments in (("run", "study.toml", *options), ("manifest", "study.toml")):
        ran = shell(*arguments)
        assert ran.code == 2
        assert "study.toml, line 3: not UTF-8; save the file with the encoding UTF-8" in ran.err


def latin_1(folder: Path) -> list[str]:
    """A study about a column with accents, and records in Latin-1; gives the options that name them."""
    side = '[data.columns.sein]\nlevels = ["côté gauche", "droit"]\n'
    study = STUDY.replace("[data.columns.size]", f"{side}[data.columns.size]").replace("nodes", "sein")
    (folder / "study.toml").write_text(study, encoding="utf-8")
    options = []
    for name, frame in breast().items():
        frame["sein"] = np.where(frame["pid"] % 3 > 0, "côté gauche", "droit")
        frame.to_csv(folder / f"{name}.csv", index=False, encoding="latin-1")
        options += ["--hospital", f"{name}={name}.csv"]
    return options


def test_records_in_another_encoding(tmp_path: Path) -> None:
    """Latin-1 is found out, and read when it is named."""
    options = latin_1(tmp_path)
    ran = program("run", "study.toml", *options, cwd=tmp_path)
    assert ran.code == 2
    for words in ("delft.csv: line 2: the file is not UTF-8", 'encoding = "latin-1"', "iconv -f latin1"):
        assert words in ran.err
    assert "gauche" not in ran.err
    assert "Traceback" not in ran.err
    ran = program("run", "study.toml", *options, "--encoding", "latin-1", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "sein[T.droit]" in ran.out


def test_encodings_that_there_are_not(shell: Shell) -> None:
    ran = shell("run", "study.toml", *latin_1(shell.folder), "--encoding", "cp850")
    assert ran.code == 2
    assert "encoding 'cp850' is not known; known are utf-8, latin-1, utf-16. Convert others: iconv -f cp850" in ran.err


SPOILT = """
import confrere as cf
from confrere.errors import DataError
cox = cf.Cox("Surv(rtime, recur) ~ age + sein")
files = {name: f"{name}.csv" for name in ("delft", "gouda", "rotterdam")}
try:
    cf.local(files, levels={"sein": ["côté gauche", "droit"]}).run(cox)
except DataError:
    print(cf.local(files).run(cf.Cox("Surv(rtime, recur) ~ age")).n)
"""


def test_a_broken_file_does_not_spoil_what_is_read_after_it(tmp_path: Path) -> None:
    latin_1(tmp_path)
    done = subprocess.run([sys.executable, "-c", SPOILT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "600\n"


# --- options ---------------------------------------------------------------------------------------------


def test_options_that_are_wrong(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    options = csvs(shell.folder, breast())
    (shell.folder / "study.toml").write_text(STUDY)
    for wrong, says in (
        (("--lang", "de"), "--lang 'de' is not known; it is en or fr"),
        (("--deadline", "-1"), "--deadline -1 is not a number of seconds"),
        (("--deadline", "nan"), "--deadline nan is not a number of seconds"),
        (("--out", "study.toml"), "nothing can be written there (a file stands in its place); choose another folder"),
        (("--out", "study.toml/out"), "--out study.toml/out: nothing can be written there (Not a directory)"),
    ):
        ran = shell("run", "study.toml", *options, *wrong)
        assert (ran.code, ran.out) == (2, "")
        assert says in ran.err
    ran = shell("run", "study.toml", *options, "--deadline", "soon")
    assert ran.code == 2
    assert "Invalid value for '--deadline'" in ran.err

    def denied(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    ran = shell("run", "study.toml", *options, "--out", "mine")
    assert (ran.code, ran.err) == (
        2, "confrere: --out mine: nothing can be written there (Permission denied); choose another folder\n" + MORE,
    )  # fmt: skip


def test_a_disk_that_fills_up_is_no_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    options = csvs(shell.folder, breast())
    (shell.folder / "study.toml").write_text(STUDY)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("confrere.report.write", full)
    ran = shell("run", "study.toml", *options)
    assert ran.code == 2
    assert "No space left on device; make room there, or choose another folder" in ran.err


def test_demos_that_there_are_not(shell: Shell) -> None:
    assert shell("demo", "lnug").err == "confrere: no demo is called 'lnug'; did you mean 'lung'?\n" + MORE
    all_of_them = "there is breast, lung, myeloma, omop, prognosis, skin, pathology"
    assert shell("demo", "heart").err == f"confrere: no demo is called 'heart'; {all_of_them}\n" + MORE


# --- what is odd but right -------------------------------------------------------------------------------


def test_one_analysis_is_wrong_and_the_others_are_written(shell: Shell) -> None:
    frames = breast()
    everywhere(one=1)(frames)
    options = csvs(shell.folder, frames)
    wrong = '[[analysis]]\nname = "wrong"\nmethod = "cox"\nformula = "Surv(rtime, recur) ~ age + one"\n'
    last = '[[analysis]]\nname = "last"\nmethod = "logistic"\nformula = "recur ~ age"\n'
    (shell.folder / "study.toml").write_text(STUDY + wrong + last)
    ran = shell("run", "study.toml", *options, "--out", "out")
    assert ran.code == 2
    assert ran.err.count("confrere: ") == 1
    assert ran.err.startswith("confrere: analysis 'wrong' has no result: term 'one' is constant")
    assert "recurrence (cox" in ran.out
    assert "last (logistic" in ran.out
    assert "Report: " in ran.out
    written = json.loads((shell.folder / "out" / "result.json").read_text())["analyses"]
    assert [a["name"] for a in written] == ["recurrence", "last"]


@pytest.mark.parametrize("few", [0, 1, 10])
def test_a_hospital_with_hardly_anybody_takes_part_with_nothing(few: int, shell: Shell) -> None:
    frames = breast("delft", "dordrecht", "gouda", "rotterdam")
    whole = {name: frame for name, frame in frames.items() if name != "gouda"}
    frames["gouda"] = frames["gouda"].head(few)
    (shell.folder / "study.toml").write_text(STUDY)
    ran = shell("run", "study.toml", *csvs(shell.folder, frames))
    assert (ran.code, ran.err) == (0, "")
    assert "600 people in 3 of 4 hospitals" in ran.out
    with_it, without = (cf.local(f).run("study.toml")["recurrence"] for f in (frames, whole))
    assert with_it.n == without.n == 600
    np.testing.assert_allclose(with_it.arrays["estimate"], without.arrays["estimate"], rtol=1e-9)


def test_a_constant_in_standardize_costs_its_own_analysis_alone(shell: Shell) -> None:
    frames = breast()
    everywhere(one=1)(frames)
    wrong = '[[analysis]]\nname = "wrong"\nmethod = "cox"\nformula = "Surv(rtime, recur) ~ age + standardize(one)"\n'
    (shell.folder / "study.toml").write_text(STUDY + wrong)
    results = cf.local(frames).run("study.toml")
    assert list(results.findings) == ["recurrence"]
    assert isinstance(results.errors["wrong"], ModelError)


def test_standardize_stays_within_the_group(shell: Shell) -> None:
    frames = breast("delft", "dordrecht", "gouda", "rotterdam")
    frames["dordrecht"]["age"] += 1000
    inside = {name: frame for name, frame in frames.items() if name != "dordrecht"}
    study = STUDY.replace("~ age", "~ standardize(age)")
    (shell.folder / "group.toml").write_text(study.replace(HEAD, f'{HEAD}\ngroup = ["delft", "gouda", "rotterdam"]'))
    (shell.folder / "alone.toml").write_text(study)
    grouped = cf.local(frames).run("group.toml")["recurrence"]
    alone = cf.local(inside).run("alone.toml")["recurrence"]
    np.testing.assert_allclose(grouped.arrays["estimate"], alone.arrays["estimate"], rtol=1e-9)
