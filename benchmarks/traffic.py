"""What leaves one hospital: measured here, and computed from the layouts that other systems publish.

WebDISCO (Lu et al., JAMIA 2015;22:1212, doi 10.1093/jamia/ocv083) sends sums over the risk set of every event time:
1, p and p x p numbers at each of T times, in every round. FedECA (Ogier du Terrail et al., Nat Commun 2025;16:7496)
sends the same, weighted, in 10 rounds by default. ODAC (Duan et al., JAMIA 2020;27:1028, doi 10.1093/jamia/ocaa044)
sends them once, after p estimates and their p variances. All in the clear, 8 bytes a number. Ours are masked integers
of a 128-bit ring, 16 bytes a number; a symmetric matrix counts once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

TIMES = 3_650  # distinct event times: ten years in days
FEDECA_ROUNDS = 10
LAST_PASS = {"cox: confrere": "curve", "cox: confrere, one baseline": "firsts", "logistic: confrere": "last"}


class Layout(NamedTuple):
    """A published layout of messages."""

    system: str
    formula: str
    source: str
    numbers: int  # that leave one hospital
    rounds: int


def layouts(p: int, times: int = TIMES) -> list[dict[str, Any]]:
    """Numbers and bytes (8 a number) that leave one hospital for a Cox model of p terms at so many event times."""
    once = times * (1 + p + p**2)
    per_round = f"T (1 + p + p^2) a round, {FEDECA_ROUNDS} rounds"
    found = (
        Layout("WebDISCO", per_round, "JAMIA 2015;22:1212", once * FEDECA_ROUNDS, FEDECA_ROUNDS),
        Layout("FedECA", per_round, "Nat Commun 2025;16:7496", once * FEDECA_ROUNDS, FEDECA_ROUNDS),
        Layout("ODAC", "2 p, then T (1 + p + p^2)", "JAMIA 2020;27:1028", 2 * p + once, 2),
    )
    return [layout._asdict() | {"bytes": 8 * layout.numbers} for layout in found]


def traffic(rows: list[dict[str, Any]], terms: int) -> dict[str, Any]:
    """What left one hospital in the runs of `rows` of ours, beside the layouts of others."""
    ours = [_ours(row) for row in rows if row["package"] == "confrere" and "missing" not in row]
    return {"terms": terms, "event_times": TIMES, "ours": ours, "computed": layouts(terms)}


def _ours(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers and bytes; the last pass is the one that asks for the full information, by which SEs are exact."""
    full = LAST_PASS[row["name"]]
    steps = [step for step, _, _, _ in row["left"]]
    last = len(steps) - 1 - steps[::-1].index(full)
    first = next(i for i in range(last, -1, -1) if steps[i] != full) + 1
    last_pass = sum(size for _, _, _, size in row["left"][first : last + 1])
    payload = sum(size for _, _, _, size in row["left"])
    return {
        "name": row["name"], "rounds": row["rounds"], "numbers": sum(n for _, _, n, _ in row["left"]),
        "payload": payload, "payload_before_last_pass": payload - last_pass, "sent": row["sent"],
        "supports": sum(size for _, name, _, size in row["left"] if name == "support"),
    }  # fmt: skip
