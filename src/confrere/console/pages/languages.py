"""English and French: catalogues of gettext, and how each language writes numbers and dates.

The English text is the key: `_("Sign in")` in templates and in Python; `N_` marks a text that is translated later. The
French stands in `translations/*.fr.po`, one file per area, read as it is: there is nothing to compile. A text that has
no French is shown in English, and fails a test (`python tests/spec/test_pages_words.py` prints what is missing).
What varies stands in braces and is filled by name, `_("of {date}", date=...)`; with a number, `plural("{count} study",
"{count} studies", 3)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib.resources import files

from babel.dates import get_month_names
from babel.messages.pofile import read_po

from confrere.report.numerals import FIRM, Language, Numerals

LANGUAGES: tuple[Language, ...] = ("en", "fr")
NAMES: Mapping[Language, str] = {"en": "English", "fr": "Français"}
COOKIE = "confrere-language"


def N_(text: str) -> str:
    """A text of the catalogue that is translated where it is shown."""
    return text


@cache
def french() -> dict[str, tuple[str, ...]]:
    """The catalogue: English to French (for one, and for several), with the blanks that must not end a line."""
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(files(__package__).joinpath("translations").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".fr.po"):
            with file.open("rb") as stream:
                for message in read_po(stream, locale="fr"):
                    said = [message.string] if isinstance(message.string, str) else list(message.string or ())
                    if message.id and all(said or [""]) and not message.fuzzy:
                        key = message.id if isinstance(message.id, str) else message.id[0]
                        found[key] = tuple(_firm(str(form)) for form in said)
    return found


def _firm(text: str) -> str:
    for sign in ":;?!»%":
        text = text.replace(f" {sign}", f"{FIRM}{sign}")
    return text.replace("« ", f"«{FIRM}")


@dataclass(frozen=True)
class Tongue:
    """One language: its words, numbers and dates."""

    lang: Language = "en"

    def __call__(self, text: str, **values: object) -> str:
        """`text` in the language, its {fields} filled."""
        said = french().get(text, (text,))[0] if self.lang == "fr" else text
        return said.format(**values) if values else said

    def plural(self, one: str, many: str, count: int, **values: object) -> str:
        """`one` or `many` in the language, {count} filled as the language writes it (French: 0 is singular)."""
        if self.lang == "fr":
            said = french().get(one, (one, many))[-1 if count > 1 else 0]
        else:
            said = one if count == 1 else many
        return said.format(count=self.numbers.count(count), **values)

    @property
    def numbers(self) -> Numerals:
        """How the language writes numbers, counts, shares and sizes."""
        return Numerals(self.lang)

    def date(self, when: date | float) -> str:
        """A day: `22 Nov 2026`. Seconds since 1970 are shown in the machine's time zone."""
        day = _moment(when)
        return f"{day.day} {_months(self.lang)[day.month]} {day.year}"

    def time(self, when: datetime | float) -> str:
        """A day and the minute: `22 Nov 2026, 14:05`."""
        moment = _moment(when)
        return f"{self.date(moment)}, {moment:%H:%M}"


def chosen(cookie: str, accepted: str) -> Language:
    """The language of a visitor: as they chose it, else the first of ours that the browser accepts, else English."""
    if cookie in LANGUAGES:
        return "fr" if cookie == "fr" else "en"
    best: tuple[float, Language] = (0.0, "en")
    for part in accepted[:500].split(","):
        name, _, rest = part.strip().partition(";")
        weight = _weight(rest)
        for lang in LANGUAGES:
            if name.lower().split("-")[0] == lang and weight > best[0]:
                best = (weight, lang)
    return best[1]


@cache
def _months(lang: Language) -> Mapping[int, str]:
    """The short names of the months, as babel has them; its own formatting is too slow for long tables."""
    return dict(get_month_names("abbreviated", locale=lang))


def _weight(rest: str) -> float:
    """The weight of a language in Accept-Language: `q=0.8`."""
    name, _, value = rest.strip().partition("=")
    try:
        return min(1.0, float(value)) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


def _moment(when: date | float) -> date:
    return datetime.fromtimestamp(when).astimezone() if isinstance(when, int | float) else when
