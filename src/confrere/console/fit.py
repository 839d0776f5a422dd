"""What users hold: the results of a study, and one of its fits, on a terminal, in a notebook and in code.

The findings inside are plain data; what shows, draws, predicts and cites stands here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from confrere.analyses.finding import Caution, Finding, Record
from confrere.console.references import Papers, cited
from confrere.coordinator.federation import Left
from confrere.errors import StudyError, UserError
from confrere.rounds import Array
from confrere.study.file import Study

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType

    from confrere.analyses.learning.released import Model
    from confrere.console.show import Line
    from confrere.report.numerals import Language
    from confrere.report.vega import Chart


@dataclass(frozen=True, repr=False)
class Results:
    """What a study found: findings by the names of its analyses, and what left each hospital.

    `results["recurrence"]` is a `Fit`; an analysis that failed raises its error there.
    """

    study: Study
    hospitals: tuple[str, ...]
    findings: Mapping[str, Finding]
    errors: Mapping[str, UserError]
    left: Sequence[Left]
    rounds: int
    bytes: int
    seconds: float
    self_approved: bool = True  # no steward looked at it: a run in one process
    release: Mapping[str, Any] | None = None  # how the coordinator's airlock let it go; None of a run in one process

    def __getitem__(self, name: str) -> Fit:
        if name in self.errors:
            raise self.errors[name]
        if name not in self.findings:
            raise StudyError(f"the study has no analysis {name!r}; it has {', '.join(self.findings)}")
        return Fit(name, self.findings[name], self)

    def __iter__(self) -> Iterator[str]:
        """Names of the analyses that have a result."""
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @cached_property
    def released(self) -> Mapping[str, Any]:
        """How it came to whoever reads it, with the output checks; a run in one process releases itself."""
        if self.release is not None:
            return self.release
        from confrere.coordinator.airlock import Rule, checks

        made = checks(self.findings, Rule(self.study.k, self.study.allow))
        told: dict[str, Any] = {"by": [], "at": None, "sha256": None, "comment": ""}
        return {"state": "self-released", **told, "checks": [check._asdict() for check in made]}

    @property
    def tables(self) -> dict[str, Mapping[str, list[Record]]]:
        """The tables of every analysis, by its name."""
        return {name: finding.tables for name, finding in self.findings.items()}

    def summary(self) -> pd.DataFrame:
        """One row per analysis: method, people, events, hospitals, codes of warnings, and its error if it failed."""
        import pandas as pd

        rows: list[Record] = []
        for spec in self.study.analyses:
            row: Record = {"analysis": spec.name, "method": spec.method, "n": None, "events": None, "hospitals": None}
            if found := self.findings.get(spec.name):
                row |= {"n": found.n, "events": found.events, "hospitals": found.hospitals}
                row |= {"warnings": ", ".join(w.code for w in found.warnings), "error": ""}
            rows.append({"warnings": "", "error": str(self.errors.get(spec.name, "")), **row})
        columns = ["analysis", "method", "n", "events", "hospitals", "warnings", "error"]
        return pd.DataFrame.from_records(rows)[columns].astype({c: "Int64" for c in ("n", "events", "hospitals")})

    def attrition(self) -> pd.DataFrame:
        """Who was left out of each analysis, and why: one row per analysis and step."""
        import pandas as pd

        rows = [{"analysis": n, **r} for n, f in self.findings.items() for r in f.tables.get("attrition", [])]
        return pd.DataFrame(rows, columns=["analysis", "step", "reason", "n"]).astype({"n": "Int64"})

    def cite(self, format: str = "text") -> Papers:
        """The papers behind all methods of the study, and this package; `format` is `text` or `bibtex`."""
        return cited([c for f in self.findings.values() for c in f.cite], format)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from confrere.console.show import whole

        yield from whole(self)

    def __repr__(self) -> str:
        from confrere.console.show import text, whole

        return text(whole(self))

    def _repr_html_(self) -> str:
        from confrere.console.notebook import html
        from confrere.console.show import whole

        return html(whole(self))


@dataclass(frozen=True, repr=False)
class Fit:
    """One finding of a run: its tables, how it looks, what it predicts, and the papers it rests on.

    Shows itself on a terminal and in a notebook. `finding` is the plain data, `results` the run it is from.
    """

    name: str
    finding: Finding
    results: Results

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.finding.method

    @property
    def n(self) -> int:
        """People analysed."""
        return self.finding.n

    @property
    def events(self) -> int | None:
        """Events among them; None where there are none to count."""
        return self.finding.events

    @property
    def hospitals(self) -> int:
        """Hospitals that contributed."""
        return self.finding.hospitals

    @property
    def tables(self) -> Mapping[str, list[Record]]:
        """All tables, as lists of records."""
        return self.finding.tables

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Single numbers and words, such as `log_likelihood`; of a network also the hash of its file."""
        found = self.finding.facts
        return {**found, "model_sha256": self.model.sha256} if self.finding.method == "network" else found

    @property
    def arrays(self) -> Mapping[str, Array]:
        """`estimate` (p,), `vcov` (p, p) in units of the terms, and what else predictions need."""
        return self.finding.arrays

    @cached_property
    def model(self) -> Model:
        """The model that was fitted, as its file `models/NAME.json` has it. StudyError where there is none."""
        from confrere.analyses.learning.released import of

        return of(self.finding)

    @property
    def notes(self) -> tuple[str, ...]:
        """How to read the result."""
        return self.finding.notes

    @property
    def warnings(self) -> tuple[Caution, ...]:
        """What asks the reader to act; `confrere explain CODE` says what to do."""
        return self.finding.warnings

    def summary(self, table: str = "") -> pd.DataFrame:
        """One table as a pandas DataFrame: the coefficients, or the first, unless named."""
        return self.finding.summary(table)

    def predict(
        self, frame: Any = None, type: str = "", *, times: Sequence[float] = (), reference: Any = None,
        level: float = 0.95,
    ) -> pd.DataFrame:  # fmt: skip
        """Predictions for the rows of your own data frame, with standard errors and limits; no hospital is asked.

        `type` is `response` (default) or `link` for regressions; `lp` (default), `risk` or `survival` for Cox models,
        which compare with the mean of the people (indicators: with 0), or with `reference`, a dict of one person's
        values; `response` (default), `score` or `reasons` for boosted trees, networks and penalised regressions, as
        `confrere predict`; `survival` for Kaplan-Meier, of every group where no frame is given. `survival` needs
        `times` and, for Cox models, a shared baseline.
        """
        from confrere.analyses.predict import Wanted, predict

        wanted = tuple(float(t) for t in times)
        return predict(self.finding, frame, Wanted(type or ("survival" if wanted else ""), wanted, reference, level))

    def plot(self, name: str = "", *, lang: Language = "en") -> Chart:
        """The fit's figure as an Altair chart; the first, or the one called `name`. StudyError where there is none."""
        charts = self.charts(lang)
        if not charts:
            raise StudyError(f"{self.name} ({self.method}) has no figure; its tables are in .tables", about="no-figure")
        if name and name not in charts:
            raise StudyError(f"{self.name} has no figure {name!r}; it has {', '.join(charts)}", about="no-figure")
        return charts[name or next(iter(charts))]

    def charts(self, lang: Language = "en") -> dict[str, Chart]:
        """All figures by name, such as `forest` or `survival`; those of the report."""
        from confrere.console.result import as_dict
        from confrere.report.figures import charts

        record = as_dict(replace(self.results, findings={self.name: self.finding}, errors={}, left=()))
        return charts(record["analyses"][0], lang, record["study"])

    def cite(self, format: str = "text") -> Papers:
        """The papers that the method rests on, and this package; `format` is `text` or `bibtex`."""
        return cited(self.finding.cite, format)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from self._lines()

    def __repr__(self) -> str:
        from confrere.console.show import text

        return text(self._lines())

    def _repr_html_(self) -> str:
        from confrere.console.notebook import html

        return html(self._lines())

    def _lines(self) -> Iterator[Line]:
        from confrere.console.show import fit

        yield from fit(self)
