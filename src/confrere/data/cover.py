"""Whom to answer about when people left or came since the last answer: nobody, or at least k people, move at a time.

Two sums over sets of people that differ by one person give that person's row, masked or not. So people go and come in
blocks. An *atom* is the set of all who were together in, or together out of, every set that was answered so far; the
sets that were answered are unions of atoms. A new set takes of every atom

- all, where all are still eligible;
- all who are, where at least k are not: k or more go together;
- all but k, where 1 to k-1 are not: others who are drawn at random, the cover, go with them;
- nobody, where fewer than k would be left.

People who were in no set yet wait until there are k of them. So every atom has k people or more, always, and every
sum, difference and other combination of all that was answered rests on nobody or on at least k people (a combination
has one coefficient per atom). Nobody who went comes back without those who went along: whoever takes an opposition
back is from then on one of the cover.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from pyroaring import BitMap


def atoms(answered: Iterable[BitMap]) -> list[BitMap]:
    """The people of all sets, by the pattern of sets that they are in."""
    found: list[BitMap] = []
    seen = BitMap()
    for members in answered:
        parts = [part for atom in found for part in (atom & members, atom - members)]
        found = [part for part in (*parts, members - seen) if part]
        seen |= members
    return found


def cohort(eligible: BitMap, answered: Sequence[BitMap], draw: Sequence[int], k: int) -> BitMap:
    """Whom to answer about: those of `eligible` whom no combination with the `answered` sets shows in 1 to k-1.

    `draw` has everybody who was ever answered about, in a random order that does not change. Nobody is chosen where
    sets that were answered under a smaller k leave no other way.
    """
    seen = BitMap.union(*answered) if answered else BitMap()
    new = eligible - seen
    chosen = new if len(new) >= k else BitMap()
    for atom in atoms(answered):
        stay = atom & eligible
        gone = len(atom) - len(stay)
        if 0 < gone < k:
            stay -= BitMap(islice((i for i in draw if i in stay), k - gone))
        if not gone or len(stay) >= k:
            chosen = chosen | stay
    few = any(0 < len(chosen ^ other) < k for other in answered)
    return BitMap() if few and chosen not in answered else chosen
