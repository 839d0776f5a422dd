"""The value that a `keep` step returns for stewards: how alike the arms are in one hospital, which stays there."""

from __future__ import annotations

from typing import Any, NamedTuple


class OwnTerm(NamedTuple):
    """A term of the propensity: differences of the arms' means over their unweighted standard deviation here.

    None where nobody here differs in it, or an arm has fewer than two people here.
    """

    term: str
    before: float | None
    after: float | None


class OwnBalance(NamedTuple):
    """The balance of one hospital. It is no `Sum` and stays there: no other hospital and no coordinator sees it."""

    about: str  # the treatment and the outcome
    people: tuple[int, int]  # the untreated first; nobody where the hospital takes no part
    terms: tuple[OwnTerm, ...]

    def plain(self) -> dict[str, Any]:
        """As plain data, for the hospital's own file."""
        return {"about": self.about, "people": list(self.people), "terms": [list(t) for t in self.terms]}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> OwnBalance:
        """From what `plain` gave."""
        untreated, treated = plain["people"]
        return cls(plain["about"], (int(untreated), int(treated)), tuple(OwnTerm(*t) for t in plain["terms"]))

    def apart(self, over: float) -> int:
        """In how many terms the weighted arms differ by more than so many standard deviations."""
        return sum(t.after is not None and abs(t.after) > over for t in self.terms)
