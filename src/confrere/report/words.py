"""What the report says, in English and in French.

The English text is the key: `words("Number at risk")`. A text without its French is an error, which the
tests find by printing a whole report in French. Names that come from a result (`label`) are different: those
that are known get a proper name, any other is shown as it stands, without its underscores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from confrere.errors import StudyError
from confrere.report.labels import LABELS
from confrere.report.labels_methods import METHODS
from confrere.report.numerals import FIRM, Language, Numerals


@cache
def french() -> dict[str, str]:
    """The catalogue `fr.json`: English text to French."""
    text = files("confrere.report").joinpath("fr.json").read_text(encoding="utf-8")
    catalogue: dict[str, str] = json.loads(text)
    # The blank before a colon or semicolon must not be where a line ends.
    return {english: said.replace(" :", f"{FIRM}:").replace(" ;", f"{FIRM};") for english, said in catalogue.items()}


def language(name: str) -> Language:
    """The language of this name: en or fr. Raises StudyError for another."""
    if name not in ("en", "fr"):
        raise StudyError(f"the language {name!r} is not known; it is en or fr")
    return "fr" if name == "fr" else "en"


ALONE = " alone"


@dataclass(frozen=True)
class Words:
    """The words and numbers of one language."""

    lang: Language = "en"

    @property
    def numbers(self) -> Numerals:
        """How this language writes numbers."""
        return Numerals(self.lang)

    @property
    def p(self) -> str:
        """The head of a column of P values."""
        return "p" if self.lang == "fr" else "P"

    @property
    def colon(self) -> str:
        """A colon as the language spaces it."""
        return f"{FIRM}: " if self.lang == "fr" else ": "

    def __call__(self, text: str, **values: object) -> str:
        """`text` in the language, its {fields} filled."""
        said = french()[text] if self.lang == "fr" else text
        return said.format(**values) if values else said

    def label(self, name: str) -> str:
        """A field, method, unit or arm as a person would name it."""
        if name.endswith(ALONE) and name not in LABELS:  # an arm of two treatments
            return self("{name} alone", name=name.removesuffix(ALONE))
        english, french = LABELS.get(name, (name.replace("_", " "),) * 2)
        return french if self.lang == "fr" else english

    def title(self, name: str) -> str:
        """`label`, with a capital where it is a known word (a variable's own name is never changed)."""
        said = self.label(name)
        return said[:1].upper() + said[1:] if name in LABELS or "_" in name else said

    def length(self, shown: str, unit: str | None) -> str:
        """A printed length of time with its unit, which is one or many: `1 year`, `2.5 years`."""
        if not unit:
            return shown
        whole = shown.partition("," if self.lang == "fr" else ".")[0]
        one = (shown == "1", whole in ("0", "1") and shown != "0")[self.lang == "fr"]
        name = f"1 {unit}" if one and f"1 {unit}" in LABELS else unit
        return f"{shown} {self.label(name)}"

    def method(self, name: str) -> str:
        """The name of a method in full."""
        english, french = METHODS.get(name, (name.replace("_", " "),) * 2)
        shown = french if self.lang == "fr" else english
        return shown[:1].upper() + shown[1:]

    def interval(self, level: float = 0.95) -> str:
        """`95% CI`."""
        share = self.numbers.percent(level, 0 if abs(100 * level - round(100 * level)) < 1e-9 else 1)
        return f"IC à {share}" if self.lang == "fr" else f"{share} CI"
