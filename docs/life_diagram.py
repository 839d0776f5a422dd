"""The life of a study as a picture and as a table, both drawn from `confrere.study.life.LIFE`.

States and bends are placed by hand; which arrows there are, what they do and who may, comes from the table. A move that
all states of a box have in common is one arrow from the box. An arrow that has no place here is an error that says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

from confrere.study.life import LIFE

WIDTH, HEIGHT = 760, 590
SIZE = (98, 36)  # of a state

BOXES: Final = {  # states that have moves in common: from the widest to the narrowest
    "after a yes": frozenset(["approved", "running", "waiting", "paused", "done"]),
    "may be paused": frozenset(["approved", "running", "waiting"]),
    "after a no": frozenset(["refused", "revoked"]),
}
APART: Final = ("start",)  # drawn from state to state all the same: it is the way of a run
PLACES: Final = {  # the middle of each state
    "draft": (62, 40), "submitted": (272, 40), "approved": (272, 200), "running": (505, 200), "waiting": (680, 200),
    "paused": (345, 330), "done": (505, 330), "refused": (300, 470), "revoked": (470, 470), "expired": (665, 470),
}  # fmt: skip
FRAMES: Final = {  # left, top, width, height of each box
    "after a yes": (165, 112, 583, 272), "may be paused": (180, 142, 558, 102), "after a no": (208, 440, 325, 64),
}  # fmt: skip


class Arrow(NamedTuple):
    """A move: from a state or a box, what is done, where it leads, who may."""

    start: str
    action: str
    to: str
    who: tuple[str, ...]


class Line(NamedTuple):
    """How an arrow runs, and where its words stand: lines of them, or one."""

    path: str
    x: int
    y: int
    anchor: str = "start"
    rows: int = 2


LINES: Final = {
    ("draft", "submitted"): Line("M111 40H221", 166, 20, "middle"),
    ("submitted", "approved"): Line("M262 58V180", 269, 80),
    ("after a yes", "approved"): Line("M300 112V180", 306, 130, rows=1),
    ("approved", "running"): Line("M321 200H454", 387, 179, "middle"),
    ("running", "waiting"): Line("M554 192H629", 592, 171, "middle"),
    ("waiting", "running"): Line("M631 208H556", 592, 222, "middle"),
    ("running", "running"): Line("M487 182V158H523V180", 480, 160, "end", 1),
    ("may be paused", "paused"): Line("M360 244V310", 366, 261, rows=4),
    ("paused", "approved"): Line("M312 312V220", 307, 266, "end"),
    ("running", "done"): Line("M495 218V310", 489, 268, "end"),
    ("done", "running"): Line("M517 312V220", 523, 268),
    ("after a yes", "refused"): Line("M300 384V450", 307, 406),
    ("after a yes", "revoked"): Line("M470 384V450", 477, 406),
    ("after a yes", "expired"): Line("M665 384V450", 672, 406),
    ("after a no", "approved"): Line("M236 440V220", 230, 406, "end"),
    ("submitted", "refused"): Line("M246 58V94H124V470H249", 130, 449),
    ("submitted", "revoked"): Line("M238 58V84H88V530H470V490", 130, 522, rows=1),
    ("submitted", "expired"): Line("M230 58V74H52V566H665V490", 130, 558, rows=1),
}
STYLE: Final = """
rect.paper { fill: #ffffff } rect.state { fill: #ffffff; stroke: #1d3557; stroke-width: 1.5 }
rect.box { fill: #eaf3fb; stroke: #7d93a8; stroke-dasharray: 5 3 } rect.inner { fill: #dcebf7 }
rect.no { fill: #fbeee6 } text { fill: #1a1a1a } text.who { fill: #4a4a4a; font-size: 12px }
text.state { font-weight: bold; fill: #1d3557 } path.arrow { fill: none; stroke: #333333; stroke-width: 1.4 }
text.title { fill: #4a4a4a; font-style: italic; font-size: 12px } path.head { fill: #333333 }
@media (prefers-color-scheme: dark) {
rect.paper { fill: #14181c } rect.state { fill: #14181c; stroke: #9cc4ea } rect.box { fill: #1c2730; stroke: #7d93a8 }
rect.inner { fill: #22333f } rect.no { fill: #33271f } text { fill: #f0f0f0 } text.state { fill: #cfe4f8 }
text.who, text.title { fill: #c4c4c4 } path.arrow { stroke: #cfcfcf } path.head { fill: #cfcfcf } }
"""


def arrows() -> list[Arrow]:
    """Every move of the table, those that all states of a box have in common as one."""
    found: dict[tuple[str, str, tuple[str, ...]], set[str]] = {}
    for state, moves in LIFE.items():
        for action, move in moves.items():
            found.setdefault((action, move.to, move.who), set()).add(state)
    made = []
    for (action, to, who), states in found.items():
        for box, inside in BOXES.items():
            if inside <= states and action not in APART:
                made.append(Arrow(box, action, to, who))
                states -= inside
        made += [Arrow(state, action, to, who) for state in LIFE if state in states]
    return made


def drawing() -> str:
    """The picture. LookupError names a state or an arrow of the table that has no place here."""
    if missing := sorted(set(LIFE) - set(PLACES)):
        raise LookupError(f"docs/life_diagram.py has no place for the states {missing}: add them to PLACES")
    said = ", ".join(f"{a.start} to {a.to}: {a.action} ({', '.join(a.who)})" for a in arrows())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13" role="img" '
        'font-family="Helvetica, Arial, \'Liberation Sans\', sans-serif" aria-labelledby="t d">',
        '<title id="t">The life of a study at one hospital</title>',
        f'<desc id="d">{escape(said)}.</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="head" d="M0 0L8 4L0 8z"/></marker></defs>',
        *_frames(),
        *_states(),
        *(line for between in _grouped() for line in _arrow(*between)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _grouped() -> Iterator[tuple[Line, list[Arrow]]]:
    """The arrows between the same two places, which share a line."""
    found: dict[tuple[str, str], list[Arrow]] = {}
    for arrow in arrows():
        found.setdefault((arrow.start, arrow.to), []).append(arrow)
    for place, same in found.items():
        if place not in LINES:
            raise LookupError(f"docs/life_diagram.py has no line from {place[0]} to {place[1]}: add it to LINES")
        yield LINES[place], same


def _arrow(line: Line, same: list[Arrow]) -> Iterator[str]:
    yield f'<path class="arrow" marker-end="url(#a)" d="{line.path}"/>'
    words = [(f"{a.action}", list(a.who)) for a in same]
    at = f'x="{line.x}" text-anchor="{line.anchor}"'
    y = line.y
    for action, who in words:
        if line.rows == 1:
            yield f'<text {at} y="{y}">{action} <tspan class="who">({", ".join(who)})</tspan></text>'
            y += 14
            continue
        yield f'<text {at} y="{y}">{action}</text>'
        half = -(-len(who) // (line.rows - 1))
        for part in (who[i : i + half] for i in range(0, len(who), half)):
            y += 13
            yield f'<text class="who" {at} y="{y}">{", ".join(part)}</text>'
        y += 15


def _frames() -> Iterator[str]:
    for name, (x, y, width, height) in FRAMES.items():
        kind = {"may be paused": "box inner", "after a no": "box no"}.get(name, "box")
        yield f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'
    x, y, width, height = FRAMES["after a yes"]
    at = f'x="{x + width - 10}" y="{y + height - 10}"'
    yield f'<text class="title" {at} text-anchor="end">after the steward’s yes</text>'


def _states() -> Iterator[str]:
    width, height = SIZE
    for state, (x, y) in PLACES.items():
        at = f'x="{x - width // 2}" y="{y - height // 2}"'
        yield f'<rect class="state" {at} width="{width}" height="{height}" rx="6"/>'
        yield f'<text class="state" x="{x}" y="{y + 5}" text-anchor="middle">{state}</text>'


FRENCH: Final = {
    "draft": "brouillon", "submitted": "soumise", "approved": "approuvée", "refused": "refusée", "running": "en cours",
    "waiting": "en attente", "done": "terminée", "paused": "suspendue", "revoked": "révoquée", "expired": "expirée",
    "submit": "soumettre", "approve": "approuver", "refuse": "refuser", "revoke": "révoquer", "expire": "expirer",
    "start": "démarrer", "wait": "attendre", "finish": "terminer", "pause": "suspendre", "resume": "reprendre",
    "researcher": "chercheur", "steward": "responsable", "operator": "exploitant", "gate": "barrière",
    "clock": "date de fin", "coordinator": "coordinateur",
    "a study that is": "une étude", "can": "peut", "and is then": "et devient", "by": "par",
    "nothing more": "plus rien",
}  # fmt: skip


def table(french: bool = False) -> str:
    """The same as a Markdown table: a row for each state and action; in French with the words of the picture.

    KeyError names a word of the table of states that has no French.
    """

    def row(*words: str) -> str:
        return f"| {' | '.join(words)} |"

    def said(word: str) -> str:
        return f"{FRENCH[word]} (*{word}*)" if french else word

    head = [FRENCH[w] if french else w for w in ("a study that is", "can", "and is then", "by")]
    rows = [row(*head), row(*["---"] * 4)]
    for state, moves in LIFE.items():
        for action, move in moves.items():
            who = ", ".join(FRENCH[w] if french else w for w in move.who)
            rows.append(row(said(state), said(action), FRENCH[move.to] if french else move.to, who))
        if not moves:
            rows.append(row(said(state), FRENCH["nothing more"] if french else "nothing more", "", ""))
    return "\n".join(rows)
