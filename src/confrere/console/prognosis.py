"""`confrere demo prognosis`: a model learned in four hospitals, released with its card, used, and evaluated later.

Women operated until 1989 are learned from. Of those operated since, each hospital computes the risk by the released
model, which the second study has within it, and the sums say how good it is; one hospital gets its list with reasons.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from confrere.study.file import Study, parse, read

if TYPE_CHECKING:
    import pandas as pd

LAST, YEARS = 1989, 5 * 365.25  # the last year that is learned from; days of five years
OUTCOME = "relapse5"
FILES = ("prognosis", "prognosis-later")


class Cohorts(NamedTuple):
    """The records of the hospitals: of who is learned from, and of who came later."""

    learned: dict[str, pd.DataFrame]
    later: dict[str, pd.DataFrame]


def cohorts() -> Cohorts:
    """The women of the demo breast with `relapse5`: 1 for a recurrence within five years, 0 for none, else missing."""
    from confrere.console.demo import load

    _, hospitals = load("breast")
    known = {name: frame.assign(**{OUTCOME: outcome(frame)}) for name, frame in hospitals.items()}
    learned = {name: frame[frame["year"] <= LAST].reset_index(drop=True) for name, frame in known.items()}
    later = {name: frame[frame["year"] > LAST].reset_index(drop=True) for name, frame in known.items()}
    return Cohorts(learned, later)


def outcome(frame: pd.DataFrame) -> Any:
    """Whether each woman (n,) had a recurrence within five years; missing for who left earlier without one."""
    early = frame["rtime"] <= YEARS
    return (early & (frame["recur"] == 1)).astype(float).where(~early | (frame["recur"] == 1))


def evaluation(out: Path) -> Study:
    """The study that evaluates the model of the results in a folder: its file stands beside them from then on."""
    file = out / "later.toml"
    file.write_text(text_of(FILES[1]), encoding="utf-8")
    return read(file)


def text_of(name: str) -> str:
    """A study file of the demo."""
    from importlib.resources import files

    return (files("confrere") / "demos" / f"{name}.toml").read_text(encoding="utf-8")


def written(folder: Path) -> list[Path]:
    """Write both studies, and of each hospital the two files of records; all paths, the study that learns first."""
    folder.mkdir(parents=True, exist_ok=True)
    made = cohorts()
    texts = {"study.toml": text_of(FILES[0]), "later.toml": text_of(FILES[1])}
    tables = {f"{name}.csv": frame for name, frame in made.learned.items()}
    tables |= {f"{name}-later.csv": frame for name, frame in made.later.items()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, frame in tables.items():
        frame.to_csv(folder / name, index=False)
    return [folder / name for name in (*texts, *tables)]


def demonstrated(out: Path, lang: str, deadline: float | None) -> None:
    """Learn and release; predict in every hospital; evaluate; write one hospital's list."""
    from confrere.console.app import go
    from confrere.console.local import Local
    from confrere.console.predict import listed, predicted, unit_of
    from confrere.console.predict import read as model_in

    made = cohorts()
    go(Local(made.learned), parse(text_of(FILES[0]), f"{FILES[0]}.toml"), out, lang, deadline)
    typer.echo(f"\nEach hospital computes the risk of its women operated since {LAST + 1} by the trees.\n")
    go(Local(made.later), evaluation(out), out / "later", lang, deadline)
    model = model_in(out / "models" / "trees.json")
    hospital = max(made.later, key=lambda name: len(made.later[name]))
    listing, place = listed(model, made.later[hospital], "pid"), out / f"worklist-{hospital}.csv"
    unit = unit_of(predicted(model, out / "models" / "trees.json"))
    listing.assign(unit=unit).to_csv(place, index=False)
    typer.echo(f"\nThe list of {hospital}, which stays there, with reasons: {place}\nPrediction: {unit}")
    typer.echo(listing.head(5).round({"prediction": 2}).to_string(index=False))
    typer.echo(f"\nThe model's card: {out / 'models' / 'trees.card.md'} (SHA-256 {model.sha256[:16]})")
