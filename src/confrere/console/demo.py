"""The demos: real public data that the package brings, dealt to hospitals, and synthetic OMOP records."""

from __future__ import annotations

from importlib import import_module
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from confrere.errors import StudyError
from confrere.study.file import Study, meant, parse

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import pandas as pd


class Demo(NamedTuple):
    """A demo: what it is about, and the column that names the hospital."""

    title: str
    hospital: str


DEMOS = {
    "breast": Demo("Hormonal therapy and recurrence in 2,982 women with breast cancer", "hospital"),
    "lung": Demo("Survival with advanced lung cancer in 18 institutions", "inst"),
    "myeloma": Demo("Progression to myeloma, with death as a competing risk", "hospital"),
}

OMOP = "omop"  # synthetic people, as folders of OMOP tables
STAGED = {
    "prognosis": "confrere.console.prognosis", "skin": "confrere.console.skin_demo",
    "pathology": "confrere.console.pathology",
}  # fmt: skip
# of several parts: a module with `demonstrated` and `written`
NEEDS = {  # the modules of a demo beyond the core, and the extras that bring them
    OMOP: (("circe",), "omop"),
    "skin": (("PIL", "torch", "safetensors"), "images,networks"),
    "pathology": (("openslide", "tifffile", "imagecodecs", "torch", "safetensors"), "slides,networks"),
}
ALONE = (OMOP, *STAGED)  # not one study of one table


def load(name: str) -> tuple[Study, dict[str, pd.DataFrame]]:
    """The study of a demo of one table and the records of its hospitals; who belongs to none is in none."""
    if name == OMOP:
        raise StudyError(f"the demo '{OMOP}' has OMOP folders, not one table; confrere records {OMOP} writes them")
    if name in STAGED:
        raise StudyError(f"the demo '{name}' has several parts; confrere records {name} writes them")
    if name not in DEMOS:
        raise StudyError(f"no demo is called '{name}'; {meant(name, [*DEMOS, *ALONE])}")
    study = parse(text_of(name), f"{name}.toml")
    frame = _records(name)
    column = DEMOS[name].hospital
    frame = frame[frame[column].notna()]
    labels = frame[column]
    if labels.dtype.kind in "fiu":
        labels = "site " + labels.astype(int).astype(str).str.zfill(2)
    return study, {str(label): part.reset_index(drop=True) for label, part in frame.groupby(labels)}


def equipped(name: str) -> None:
    """StudyError where what a demo needs is not installed, before it makes anything."""
    from confrere.console.output import installed

    if name in NEEDS:
        modules, extra = NEEDS[name]
        installed(modules, f"the demo '{name}' needs", extra)


def text_of(name: str) -> str:
    """The study file of a demo."""
    return (_folder() / f"{name}.toml").read_text(encoding="utf-8")


def written(name: str, folder: Path) -> list[Path]:
    """Write a demo's study and the records of its hospitals into a folder; the study file, and one path for each."""
    if name == OMOP:
        return synthetic(folder)
    if name in STAGED:
        return list(import_module(STAGED[name]).written(folder))
    _, hospitals = load(name)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "study.toml", *(folder / f"{hospital}.csv" for hospital in hospitals)]
    files[0].write_text(text_of(name), encoding="utf-8")
    for file, frame in zip(files[1:], hospitals.values(), strict=True):
        frame.to_csv(file, index=False)
    return files


def synthetic(folder: Path) -> list[Path]:
    """Make the hospitals of the demo omop and its study in an empty folder; their paths, the study first."""
    from confrere.data.synthesize import Plan, synthesize

    made = synthesize(Plan(hospitals=3, people=20_000, seed=1), folder)
    study = folder / "study.toml"
    study.write_text(text_of(OMOP), encoding="utf-8")
    return [study, *(one.folder for one in made)]


def homeless(name: str) -> int:
    """How many people of a demo belong to no hospital."""
    return int(_records(name)[DEMOS[name].hospital].isna().sum())


def _records(name: str) -> pd.DataFrame:
    import pandas as pd

    with (_folder() / f"{name}.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle)


def _folder() -> Traversable:
    return resources("confrere") / "demos"
