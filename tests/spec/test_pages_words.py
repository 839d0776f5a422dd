"""Every sentence of the pages has its French, and none is left over. Run as a script, it prints what is missing.

python tests/spec/test_pages_words.py >> src/confrere/console/pages/translations/AREA.fr.po
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

pytest.importorskip("babel")

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from confrere.console import pages
from confrere.console.pages.languages import Tongue, chosen, french

FOLDER = Path(str(pages.__file__)).parent
WAYS = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
WORDS = {"_": None, "N_": None, "plural": (1, 2)}
FIELD = re.compile(r"\{(\w+)\}")


def written() -> dict[str, tuple[str | tuple[str, ...], list[str]]]:
    """Every text of templates and modules: by its English (singular) the text as written, and where."""
    found: dict[str, tuple[str | tuple[str, ...], list[str]]] = {}
    options = {"templates/**.html": {"extensions": "jinja2.ext.do", "silent": "false"}}
    for file, line, said, _, _ in extract_from_dir(FOLDER, WAYS, options, WORDS):
        text = said if isinstance(said, str) else tuple(said)
        key = text if isinstance(text, str) else text[0]
        found.setdefault(key, (text, []))[1].append(f"{file}:{line}")
    return found


def translated() -> Iterator[tuple[str, Message]]:
    """Every entry of the catalogues, with its file."""
    for file in sorted((FOLDER / "translations").glob("*.po")):
        with file.open("rb") as stream:
            yield from ((file.name, message) for message in read_po(stream, locale="fr") if message.id)


def key_of(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def forms(said: object) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said or ())  # type: ignore[call-overload]


def test_every_text_has_its_french() -> None:
    """Mended by the command at the top of this file, and a translator."""
    missing = {text: where for text, (_, where) in written().items() if text not in french()}
    assert not missing


def test_no_french_is_left_over() -> None:
    used = written()
    assert not [(file, key_of(m)) for file, m in translated() if key_of(m) not in used]


def test_no_text_is_translated_twice() -> None:
    keys = [key_of(m) for _, m in translated()]
    assert not {k for k in keys if keys.count(k) > 1}


@pytest.mark.parametrize(("file", "message"), list(translated()), ids=lambda v: v if isinstance(v, str) else "")
def test_a_translation_has_the_fields_of_its_text(file: str, message: Message) -> None:
    assert not message.fuzzy
    for english in forms(message.id):
        for said in forms(message.string):
            assert set(FIELD.findall(said)) <= set(FIELD.findall(english)) | {"count"}
    named = set(FIELD.findall(forms(message.id)[-1]))
    assert named == set(FIELD.findall(forms(message.string)[-1]))
    assert all(said.strip() == said and (said[-1] == ".") == (forms(message.id)[-1][-1] == ".")
               for said in forms(message.string))  # fmt: skip


def test_french_is_french() -> None:
    """No text stands in both catalogues alike, but for words that are the same in both languages."""
    same = {key_of(m) for _, m in translated() if forms(m.id)[0] == forms(m.string)[0]}
    assert same <= {"Pages", "Oppositions", "Patient", "Patients", "moments", "variables", "{count} patient"}


def test_a_colon_never_begins_a_line() -> None:
    assert not [said for both in french().values() for said in both if re.search(" [:;?!»]", said)]


def test_fields_and_numbers() -> None:
    fr, en = Tongue("fr"), Tongue("en")
    assert en("Your institution") == fr("Your institution") == "Your institution"  # no text of ours
    assert fr.plural("{count} xx", "{count} xxs", 1234) == "1\u202f234 xxs"
    assert fr.plural("{count} xx", "{count} xxs", 0) == "0 xx"
    assert en.plural("{count} xx", "{count} xxs", 0) == "0 xxs"
    assert en.plural("{count} xx", "{count} xxs", 1) == "1 xx"
    when = datetime(2026, 11, 2, 14, 5)
    assert (en.time(when), fr.time(when)) == ("2 Nov 2026, 14:05", "2 nov. 2026, 14:05")
    assert (en.date(when), fr.date(when)) == ("2 Nov 2026", "2 nov. 2026")
    assert en.date(when.timestamp()) == en.date(when)


@pytest.mark.parametrize(
    ("cookie", "accepted", "lang"),
    [
        ("", "", "en"), ("fr", "en", "fr"), ("en", "fr", "en"), ("de", "fr", "fr"), ("", "fr-CA,en;q=0.8", "fr"),
        ("", "de,fr;q=0.5,en;q=0.7", "en"), ("", "fr;q=0", "en"), ("", "fr;q=x, en;q=nan", "en"),
        ("", "," * 9999, "en"), ("../fr", "x", "en"), ("", "FR", "fr"), ("", "frx", "en"),
    ],
)  # fmt: skip
def test_the_language_of_a_visitor(cookie: str, accepted: str, lang: str) -> None:
    assert chosen(cookie, accepted) == lang


def main() -> None:
    """Print the entries that are missing, to be added to a catalogue and translated."""
    import sys

    catalogue = Catalog(locale="fr", creation_date=datetime(2026, 1, 1))
    known = {key_of(m) for _, m in translated()}
    for key, (text, where) in sorted(written().items()):
        if key not in known:
            catalogue.add(text, locations=[(place.rsplit(":", 1)[0], 0) for place in sorted(set(where))][:1])
    write_po(sys.stdout.buffer, catalogue, omit_header=True, include_lineno=False, width=118)


if __name__ == "__main__":
    main()
