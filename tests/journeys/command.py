"""How journeys run: the command in this process or as a program of its own, and small hospitals to run it on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from confrere.console import app
from confrere.console.demo import load

SCRIPT = Path(sys.executable).with_name("confrere")
HOSPITALS = ("delft", "gouda", "rotterdam")

STUDY = """\
[study]
id = "recurrence"
title = "Recurrence of breast cancer"
purpose = "public-interest research"
[data]
table = "breast"
person = "pid"
[data.columns.size]
levels = ["<=20", "20-50", ">50"]
[[analysis]]
name = "recurrence"
method = "cox"
formula = "Surv(rtime, recur) ~ age + C(size) + nodes"
"""

Frames = dict[str, pd.DataFrame]
Change = Callable[[Frames], object]


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def program(*arguments: str, cwd: Path) -> Ran:
    """The installed command, as a shell would start it."""
    done = subprocess.run([str(SCRIPT), *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


class Shell:
    """The same entry point in this process, in a folder of its own: quicker."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        monkeypatch.chdir(folder)

    def __call__(self, *arguments: str) -> Ran:
        self._monkeypatch.setattr(sys, "argv", ["confrere", *arguments])
        self._capsys.readouterr()
        code = 0
        try:
            app.main()
        except SystemExit as left:
            code = int(left.code or 0)
        said = self._capsys.readouterr()
        return Ran(code, said.out, said.err)


@cache
def _breast() -> Mapping[str, pd.DataFrame]:
    return load("breast")[1]


def breast(*names: str, people: int | None = 200) -> Frames:
    """Records of hospitals of the breast demo, as fresh copies; `people` drawn from each, None for all."""
    frames = {name: _breast()[name] for name in names or HOSPITALS}
    return {
        name: frame.sample(min(people or len(frame), len(frame)), random_state=1).reset_index(drop=True)
        for name, frame in frames.items()
    }


def csvs(folder: Path, frames: Frames) -> list[str]:
    """Write each hospital's CSV; gives the options that name them."""
    options = []
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        options += ["--hospital", f"{name}={name}.csv"]
    return options
