"""What a definition in Circe JSON says, as text for people, in English or French: `described(text, "fr")`.

Every attribute that a definition has leads to words: what is not known here by name is written with its own. Concept
sets are named with their number, [0], under which the end of the text lists them. Names that the definition's author
gave stay as they are. The model is the print-friendly text of OHDSI's circe-be (its `printfriendly` templates).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from confrere.errors import StudyError
from confrere.study.circe import definition
from confrere.study.circe_phrases import ATTRIBUTES, COLUMNS, KINDS, LISTS, PHRASES

LANGUAGES = ("en", "fr")
_SIGNS = {"gte": ">=", "lte": "<=", "gt": ">", "lt": "<", "eq": "=", "!eq": "!=", "neq": "!="}
Plain = dict[str, Any]
Lines = Iterator[tuple[int, str]]  # depth, text


def described(text: str, language: str = "en") -> str:
    """The whole definition in words, a line each, indented. StudyError: no definition, or another language."""
    if language not in LANGUAGES:
        raise StudyError(f"'{language}' is no language of these texts; there is {', '.join(LANGUAGES)}")
    try:
        made = _Writer(_lowered(json.loads(definition(text).text)), LANGUAGES.index(language))
        return "\n".join("  " * depth + line for depth, line in made.lines()) + "\n"
    except (AttributeError, TypeError, ValueError) as error:  # lists where Circe has objects, and the like
        raise StudyError(
            f"the cohort definition is not Circe's: {str(error)[:100]}. Export it again from ATLAS"
        ) from error


def _lowered(node: Any) -> Any:
    """A JSON with its keys in small letters: exports differ in them."""
    if isinstance(node, dict):
        return {str(key).replace("_", "").lower(): _lowered(value) for key, value in node.items()}
    return [_lowered(one) for one in node] if isinstance(node, list) else node


def _empty(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


class _Writer:
    """Writes one definition in one language."""

    def __init__(self, definition: Plain, language: int) -> None:
        self.definition, self.language = definition, language
        self.colon = PHRASES["colon"][language]
        self.names = {s.get("id"): s.get("name") for s in definition.get("conceptsets") or []}

    def say(self, key: str, **given: Any) -> str:
        """A phrase in the language, with what is given filled in."""
        return PHRASES[key][self.language].format(**given)

    def days(self, n: Any) -> str:
        """So many days."""
        return self.say("day" if self.one(n) else "days", n=n)

    def one(self, n: Any) -> bool:
        """Whether a number takes the singular: in French, 0 does as well."""
        return n == 1 or (self.language == 1 and n == 0)

    def lines(self) -> Lines:
        """The parts in the order in which a cohort is made."""
        left = dict(self.definition)
        primary = left.pop("primarycriteria")
        sets = left.pop("conceptsets", None) or []
        yield from self.entry(primary, left.pop("additionalcriteria", None), left.pop("qualifiedlimit", None))
        yield from self.rules(left.pop("inclusionrules", None) or [], left.pop("expressionlimit", None))
        yield 0, self.say("exit")
        yield from self.ending(left.pop("endstrategy", None))
        yield from self.censoring(left.pop("censoringcriteria", None) or [], left.pop("censorwindow", None))
        yield from self.joined(left.pop("collapsesettings", None) or {})
        if sets:
            yield 0, self.say("sets")
            yield from self.sets(sets)
        for key, value in left.items():
            if not _empty(value):
                yield 0, self.other(key, value)

    # --- stages ---

    def entry(self, primary: Plain, group: Any, qualified: Any) -> Lines:
        """Entry events: which, observed how long, which of several."""
        left = dict(primary)
        yield 0, self.say("entry")
        for j, criterion in enumerate(left.pop("criterialist", None) or [], 1):
            yield from self.event(criterion, 1, f"{j}. ")
        yield from ((1, line) for line in self.observed(left.pop("observationwindow", None) or {}))
        yield 1, self.say("of these") + self.limit(left.pop("primarycriterialimit", None))
        yield from ((1, self.other(key, value)) for key, value in left.items() if not _empty(value))
        if group:
            yield 1, self.say("additional")
            yield from self.group(group, 2, self.say("the entry event"))
        if group or qualified:
            yield 1, self.say("qualified") + self.limit(qualified)

    def observed(self, window: Plain) -> Iterator[str]:
        """Days of observation around the entry event; an event always lies in an observation period."""
        if not any(window.values()):
            yield self.say("observed")
        for key in ("priordays", "postdays"):
            if window.get(key):
                yield self.say(key, n=self.days(window[key]))
        yield from (self.other(k, v) for k, v in window.items() if k not in ("priordays", "postdays") and not _empty(v))

    def rules(self, rules: Sequence[Plain], limit: Any) -> Lines:
        """Inclusion rules, in sequence."""
        if rules:
            yield 0, self.say("rules")
        for j, rule in enumerate(rules, 1):
            left = dict(rule)
            name = str(left.pop("name", None) or "").strip()
            yield 1, f"{j}. {name}".rstrip()
            if said := left.pop("description", None):
                yield from ((2, line) for line in str(said).splitlines() if line.strip())
            yield from self.group(left.pop("expression", None) or {}, 2, self.say("the entry event"))
            yield from ((2, self.other(key, value)) for key, value in left.items() if not _empty(value))
        yield 1 if rules else 0, self.say("meeting") + self.limit(limit)

    def limit(self, said: Any) -> str:
        """Which of several events."""
        kind = str((said or {}).get("type") or "All")
        key = f"limit {kind.lower()}"
        return self.say(key) if key in PHRASES else self.other("limit", kind)

    def ending(self, said: Any) -> Lines:
        """When people leave."""
        if not said:
            yield 1, self.say("exit observation")
        for key, given in (said or {}).items():
            left = dict(given)
            if key == "dateoffset":
                field = str(left.pop("datefield", "StartDate"))
                named = {"startdate": "start", "enddate": "end"}.get(field.lower())
                n = self.days(left.pop("offset", 0))
                yield (
                    1,
                    self.say("exit offset", n=n, date=self.say(named, of=self.say("the entry event")))
                    if (named)
                    else self.other(key, given),
                )
            elif key == "customera":
                drug = self.set(left.pop("drugcodesetid", None))
                gap, plus = self.days(left.pop("gapdays", 0)), self.days(left.pop("offset", 0))
                yield 1, self.say("exit era", drug=drug, gap=gap, plus=plus)
                if (supply := left.pop("dayssupplyoverride", None)) is not None:
                    yield 2, self.say("supply", n=self.days(supply))
            yield from ((2, self.other(k, v)) for k, v in left.items() if not _empty(v))

    def censoring(self, criteria: Sequence[Plain], window: Any) -> Lines:
        """What ends a stay early, and the dates that cut all of them."""
        if criteria:
            yield 1, self.say("censoring")
        for criterion in criteria:
            yield from self.event(criterion, 2, "- ")
        for key, value in (window or {}).items():
            if not _empty(value):
                yield 1, self.say(f"cut {key}", date=value) if f"cut {key}" in PHRASES else self.other(key, value)

    def joined(self, said: Plain) -> Lines:
        """What becomes one stay."""
        left = dict(said)
        kind, pad = str(left.pop("collapsetype", "ERA")), left.pop("erapad", 0)
        key = f"join {kind.lower()}"
        yield 1, self.say(key, n=self.days(pad)) if key in PHRASES else self.other(key, pad)
        yield from ((1, self.other(k, v)) for k, v in left.items() if not _empty(v))

    # --- criteria ---

    def group(self, group: Plain, depth: int, anchor: str) -> Lines:
        """All, any, at least or at most so many of some criteria; their windows are about the event `anchor`."""
        left = dict(group)
        kind, count = str(left.pop("type", None) or "ALL"), left.pop("count", None)
        key = f"group {kind.lower()}"
        yield depth, self.say(key, n=count) if key in PHRASES else self.other(kind, count)
        if count is not None and "{n}" not in PHRASES.get(key, ("",))[0]:
            left["count"] = count
        for person in left.pop("demographiccriterialist", None) or []:
            yield depth + 1, "- " + "; ".join(self.details(person))
        for criterion in left.pop("criterialist", None) or []:
            yield from self.counted(criterion, depth + 1, anchor)
        for inner in left.pop("groups", None) or []:
            yield from self.group(inner, depth + 1, anchor)
        yield from ((depth + 1, self.other(k, v)) for k, v in left.items() if not _empty(v))

    def counted(self, said: Plain, depth: int, anchor: str) -> Lines:
        """So many events of a kind in a window."""
        left = dict(said)
        inner = left.pop("criteria", None)
        head = self.occurrence(left.pop("occurrence", None) or {})
        tail = [
            self.window(left.pop(key), key == "endwindow", anchor)
            for key in ("startwindow", "endwindow")
            if left.get(key)
        ]
        tail += [self.say(key) for key in ("restrictvisit", "ignoreobservationperiod") if left.pop(key, False)]
        tail += [self.other(key, value) for key, value in left.items() if not _empty(value)]
        yield from self.event(inner or {}, depth, f"- {head}", tail)

    def occurrence(self, said: Plain) -> str:
        """At least, at most, exactly so many."""
        left = dict(said)
        kind, count = left.pop("type", 2), left.pop("count", 1)
        key = "none" if (kind, count) == (0, 0) else f"occurrence {kind}"
        events = self.say("event" if self.one(count) else "events")
        head = self.say(key, n=count, events=events) if key in PHRASES else f"{self.other('occurrence', kind)} {count} "
        distinct, column = left.pop("isdistinct", False), left.pop("countcolumn", None)
        if distinct:
            named = COLUMNS.get(str(column).lower() if column else "domain_concept")
            head += self.say("distinct", of=named[self.language] if named else column)
        elif column:
            head += f"({self.other('countcolumn', column)}) "
        more = [self.other(k, v) for k, v in left.items() if not _empty(v)]
        return head + (f"({'; '.join(more)}) " if more else "") + self.say("of")

    def window(self, said: Plain, of_end: bool, anchor: str) -> str:
        """From so many days before to so many after; a window on ends is about ends unless it says otherwise."""
        left = dict(said)
        ends = left.pop("useeventend", None)
        index = self.say("end" if left.pop("useindexend", False) else "start", of=anchor)
        first, last = self.bound(left.pop("start", None), -1), self.bound(left.pop("end", None), 1)
        key = "ending" if ends or (ends is None and of_end) else "starting"
        more = [self.other(k, v) for k, v in left.items() if not _empty(v)]
        return "; ".join([self.say(key, first=first, last=last, index=index), *more])

    def bound(self, said: Any, side: int) -> str:
        """One end of a window."""
        left = dict(said or {})
        days, side = left.pop("days", None), left.pop("coeff", side)
        where = "before" if side == -1 else "after" if side == 1 else self.other("coeff", side)
        more = [self.other(k, v) for k, v in left.items() if not _empty(v)]
        text = (
            where
            if where not in PHRASES
            else self.say(where, n=self.days(days))
            if (days is not None)
            else self.say(f"ever {where}")
        )
        return " ".join([text, *more])

    def event(self, said: Plain, depth: int, head: str, tail: Sequence[str] = ()) -> Lines:
        """An event of a kind, with what is asked of it; on further lines what must be around it."""
        for kind, given in said.items():
            left = dict(given or {})
            named = KINDS.get(kind)
            noun = named[self.language] if named else kind
            group = left.pop("correlatedcriteria", None)
            codes = left.pop("codesetid", None)
            what = noun if kind == "death" and codes is None else f"{noun} {self.set(codes)}"
            yield depth, "; ".join([f"{head}{what}", *self.details(left), *tail])
            if group:
                yield depth + 1, self.say("around")
                yield from self.group(group, depth + 2, self.say("that event"))

    def details(self, said: Plain) -> list[str]:
        """What is asked of an event or a person."""
        made, left = [], dict(said)
        if left.pop("first", False):
            made.append(self.say("first"))
        if adjusted := left.pop("dateadjustment", None):
            made.append(self.adjusted(adjusted))
        for key, value in left.items():
            if _empty(value):
                continue
            if key.endswith("exclude") and value is True and key.removesuffix("exclude") in left:
                continue  # said with the list that it turns round
            made.append(self.detail(key, value, bool(left.get(f"{key}exclude"))))
        return made

    def detail(self, key: str, value: Any, excluding: bool) -> str:
        """One attribute: a range, dates, a list of concepts, a concept set, or text."""
        plain = key.removesuffix("cs") if isinstance(value, dict) and "codesetid" in value else key
        named = ATTRIBUTES.get(key) or ATTRIBUTES.get(plain)
        noun = named[self.language] if named else plain
        if plain != key:
            not_ = self.say("not") if value.get("isexclusion") else ""
            more = [
                self.other(k, v) for k, v in value.items() if k not in ("codesetid", "isexclusion") and not _empty(v)
            ]
            return "; ".join([f"{noun}{self.colon}{not_}{self.set(value['codesetid'])}", *more])
        if isinstance(value, dict) and ("value" in value or "op" in value):
            return f"{noun} {self.range(value)}"
        if isinstance(value, list):
            listed = self.say("or").join(map(self.concept, value))
            return f"{noun}{self.colon}{self.say('not') if excluding else ''}{listed}"
        if key in LISTS:
            return f"{noun} {self.set(value)}"
        if isinstance(value, dict):
            return f"{noun}{self.colon}" + ", ".join(f"{k} {v}" for k, v in value.items() if not _empty(v))
        return noun if value is True else f"{noun}{self.colon}{value}"

    def range(self, said: Plain) -> str:
        """Between, above, below, or a text that contains."""
        left = dict(said)
        op, value, extent = left.pop("op", None), left.pop("value", left.pop("text", None)), left.pop("extent", None)
        if str(op).endswith("bt"):
            made = self.say("outside" if str(op).startswith("!") else "between", low=value, high=extent)
        elif f"text {op}" in PHRASES:
            made = self.say(f"text {op}", text=value)
        else:
            made = f"{_SIGNS.get(str(op), op)} {value}"
        made += f" ({self.other('extent', extent)})" if extent is not None and not str(op).endswith("bt") else ""
        return " ".join([made, *(self.other(k, v) for k, v in left.items() if not _empty(v))])

    def adjusted(self, said: Plain) -> str:
        """Dates of an event, shifted."""
        left = dict(said)
        ends = []
        for side, default in (("start", "START_DATE"), ("end", "END_DATE")):
            base = str(left.pop(f"{side}with", default)).replace("_DATE", "").lower()
            shift = left.pop(f"{side}offset", 0)
            of = self.say(base, of=self.say("that event")) if base in ("start", "end") else base
            ends.append(self.say("shifted", date=of, n=f"{shift:+d}" if isinstance(shift, int) else shift))
        more = [self.other(k, v) for k, v in left.items() if not _empty(v)]
        return "; ".join([self.say("adjusted", start=ends[0], end=ends[1]), *more])

    # --- concepts ---

    def set(self, number: Any) -> str:
        """A concept set by name and number; None is any concept."""
        if number is None:
            return self.say("any")
        return f"{self.quoted(self.names.get(number) or '?')} [{number}]"

    def quoted(self, text: Any) -> str:
        return self.say("quoted", text=text)

    def concept(self, said: Any) -> str:
        """A concept: name, id, vocabulary and code."""
        if not isinstance(said, dict):
            return str(said)
        origin = " ".join(str(said[k]) for k in ("vocabularyid", "conceptcode") if said.get(k))
        number = said.get("conceptid")
        ids = ", ".join([str(number)] * (number is not None) + [origin] * bool(origin))
        name = said.get("conceptname")
        return f"{name} ({ids})" if name and ids else str(name or ids)

    def sets(self, sets: Sequence[Plain]) -> Lines:
        """All concept sets with their concepts."""
        for one in sets:
            left = dict(one)
            yield 1, f"[{left.pop('id', '?')}] {left.pop('name', None) or ''}".rstrip()
            expression = dict(left.pop("expression", None) or {})
            for item in expression.pop("items", None) or []:
                rest = dict(item)
                text = self.concept(rest.pop("concept", None) or {})
                head = self.say("excluded") if rest.pop("isexcluded", False) else ""
                flags = [self.say(key) for key in ("includedescendants", "includemapped") if rest.pop(key, False)]
                more = [self.other(k, v) for k, v in rest.items() if not _empty(v)]
                yield 2, ", ".join([f"- {head}{text}", *flags, *more])
            for key, value in {**left, **expression}.items():
                if not _empty(value):
                    yield 2, self.other(key, value)

    def other(self, key: str, value: Any) -> str:
        """What has no words of its own."""
        named = ATTRIBUTES.get(key)
        said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return f"{named[self.language] if named else key}{self.colon}{said}"
