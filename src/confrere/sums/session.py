"""One hospital's side of one run, as a table of states.

    new --hello--> hello --agree--> agreed --open--> open --mask, sign, add, unblind--> open
                                                       (close ends any of them) --> closed

Messages pass through the caller; nothing here knows sockets. Fresh keys live in this object only:
after a restart there is a new session with a new epoch, never this one again. An event that the
table does not have is a KeysError, and an event that fails leaves the state as it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from confrere.errors import KeysError, MaskReuse
from confrere.sums import agreement, fixed, masks
from confrere.sums.agreement import Hello, Run
from confrere.sums.attempts import Attempts, attempt_name
from confrere.sums.fixed import Ring
from confrere.sums.frames import frames, purpose
from confrere.sums.keys import FEWEST_MEMBERS, Identity, Roster, verify
from confrere.sums.masks import Context

TABLE: Final[Mapping[tuple[str, str], str]] = {
    ("new", "hello"): "hello",
    ("hello", "agree"): "agreed",
    ("agreed", "open"): "open",
    ("open", "mask"): "open",
    ("open", "sign"): "open",
    ("open", "add"): "open",
    ("open", "unblind"): "open",
    ("open", "secret"): "open",
    ("new", "close"): "closed",
    ("hello", "close"): "closed",
    ("agreed", "close"): "closed",
    ("open", "close"): "closed",
    ("closed", "close"): "closed",
}
_DIGEST_BYTES: Final = 32
_FIRST: Final = 64  # bytes by which a message is found again
SHORT: Final = 1 << 18  # bytes of arrays of which is remembered what was made of them
_MANY: Final = 64  # messages that are
_KNOWN: dict[int, tuple[Sequence[Ring], bytes]] = {}  # of arrays that nobody can write to, by where they stand
T = TypeVar("T")


class Answer(NamedTuple):
    """What one hospital sent in one attempt of one round."""

    rings: Sequence[Ring]  # masked arrays
    signature: bytes  # (64,) by its identity over context and arrays


class Session:
    """A hospital in a run. `members` below are the run's hospitals, or a group fixed in the study."""

    _private: X25519PrivateKey | None  # from hello to agree
    _hello: bytes  # mine, as sent
    _hellos: dict[str, Hello]  # everybody's, in roster order
    _id: bytes  # (32,) run id
    _secrets: dict[str, bytes]  # pair secrets by the other's name
    _seeds: dict[str, bytes]  # mine from hello, everybody's from open
    _group: bytes  # (32,) group secret
    _asked: dict[int, tuple[tuple[str, ...], str]]  # round -> members and label
    _sent: dict[tuple[int, int], tuple[Context, bytes]]  # (round, attempt) -> context, hash of what was sent

    def __init__(
        self, identity: Identity, name: str, roster: Roster, study: bytes, epoch: int, attempts: Attempts
    ) -> None:
        """KeysError unless the roster is signed by all its members and has this identity as `name`.

        `study` is the hash that the stewards approved; `epoch` is higher after every restart.
        """
        roster.verify()
        if roster.keys.get(name) != identity.public:
            raise KeysError(f"{name!r} with the key {identity.fingerprint} is not a member of the roster")
        self.name: Final = name
        self.state = "new"
        self._identity = identity
        self._roster = roster
        self._run = Run(study, roster.hash, epoch)
        self._attempts = attempts
        self.pairs: masks.Pairs | None = None  # where others of the run are of this process
        self._forget()

    def hello(self, *, seed: bytes | None = None) -> bytes:
        """This hospital's signed fresh key, for all the others. MaskReuse when the epoch was used before.

        `seed` (32 bytes) is this hospital's part of the group secret: new unless the one kept from an
        earlier epoch of the study is given, so that folds and samples are found again.
        """
        self._check("hello")
        seed = agreement.check_seed(os.urandom(agreement.SEED_BYTES) if seed is None else seed)
        private = X25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        hello = agreement.say_hello(self._identity, self._run, self.name, public, seed)
        run = self._run
        scope = hashlib.sha256(frames(purpose("epoch"), run.study, run.roster)).digest()
        message = hashlib.sha256(hello).digest()
        if self._attempts.claim(attempt_name(scope, self.name, run.epoch, 0), message) != message:
            raise MaskReuse(f"epoch {run.epoch} of this study was used before: start a new, higher epoch")
        self._private, self._seeds, self._hello = private, {self.name: seed}, hello
        return self._went("hello", hello)

    def agree(self, hellos: Mapping[str, bytes], *, without: Collection[str] = ()) -> dict[str, bytes]:
        """Take everybody's hello, mine included; give my seed, sealed for each of the others by name.

        All of the roster must be there, except `without`: those whom this hospital itself knows to be
        left out from the start. KeysError for a missing, forged, swapped or replayed hello.
        """
        self._check("agree")
        expected = set(self._roster.names) - set(without)
        if set(hellos) != expected:
            missing, strange = sorted(expected - set(hellos)), sorted(set(hellos) - expected)
            raise KeysError(f"hellos are needed of {sorted(expected)}: {missing} missing, {strange} too many")
        if len(expected) < FEWEST_MEMBERS:
            raise KeysError(f"a run needs {FEWEST_MEMBERS} hospitals at least, not {len(expected)}")
        if hellos.get(self.name) != self._hello or self._private is None:
            raise KeysError(f"the hello given for {self.name!r} is not the one it sent in this session")
        self._hellos = agreement.read_hellos(self._run, self._roster, hellos)
        self._id = agreement.run_id(self._run.study, self._run.roster, hellos)
        others = [name for name in self._hellos if name != self.name]
        self._secrets = {
            other: agreement.pair_secret(self._private, self._hellos[other].key, self._id, (self.name, other))
            for other in others
        }
        self._private = None  # nothing else is ever derived from it
        return self._went("agree", {other: self._sealed_for(other) for other in others})

    def open(self, seeds: Mapping[str, bytes]) -> bytes:
        """Take the seeds sealed for me, by sender; the run id (32,), the same for all that agree.

        KeysError when one is missing, was sealed for somebody else or another run, or is not the seed
        its sender committed to.
        """
        self._check("open")
        if set(seeds) != set(self._secrets):
            raise KeysError(f"sealed seeds are needed of {sorted(self._secrets)}, not of {sorted(seeds)}")
        opened = {self.name: self._seeds[self.name]}
        for sender, sealed in seeds.items():
            opened[sender] = agreement.unseal(self._secrets[sender], self._id, (sender, self.name), sealed)
            if agreement.commitment(self._run.study, sender, opened[sender]) != self._hellos[sender].commitment:
                raise KeysError(f"the seed of {sender!r} is not the one its hello committed to")
        self._seeds = opened
        self._group = agreement.group_secret(self._run.study, self._run.roster, opened)
        return self._went("open", self._id)

    def mask(
        self,
        round: int,
        digest: bytes,
        rings: Sequence[Ring],
        *,
        members: tuple[str, ...] | None = None,
        blinded: bool = False,
        attempt: int = 0,
    ) -> tuple[Ring, ...]:
        """My arrays of a round, masked: what may be sent, once it is written down (it is, on return); read-only.

        `digest` (32,) is the ask's. Every number, `members` and `blinded` must be the same at all
        members, or nothing cancels. The same call again gives the same bits. MaskReuse when the attempt
        was sent with other data, ask or members: those need the next attempt number. KeysError when a
        new attempt has other members, or blinds differently: one round is one question to one group.
        """
        self._check("mask")
        context = self._context(round, digest, members, blinded, attempt)
        asked = self._asked.get(round, (context.members, context.label))
        if asked != (context.members, context.label):
            raise KeysError(f"round {round} was asked of {asked[0]} ({asked[1]}); another attempt is the same")
        plain = masks.blind(rings, context, self._group) if blinded and context.members[0] == self.name else rings
        masked = tuple(masks.masked(plain, context, self.name, self._secrets, self.pairs))
        for ring in masked:
            for array in (ring.base, ring):  # one is a view of the other
                if array is not None:
                    array.flags.writeable = False
        message = hashed(masked)
        if self._attempts.claim(attempt_name(self._id, self.name, round, attempt), message) != message:
            raise MaskReuse(
                f"attempt {attempt} of round {round} was sent with other data, ask or members; "
                "nothing was sent now: ask again with a new attempt number"
            )
        self._asked[round] = asked
        self._sent[round, attempt] = (context, message)
        return self._went("mask", masked)

    def sign(self, round: int, attempt: int = 0) -> bytes:
        """My signature (64,) on what `mask` gave for this attempt, for `Answer`. KeysError before `mask`."""
        self._check("sign")
        context, message = self._said(round, attempt)
        parts = (context.encoded(), self.name.encode(), message)
        return self._went("sign", self._identity.sign("answer", *parts))

    def add(self, round: int, answers: Mapping[str, Answer], *, attempt: int = 0) -> Sequence[Ring]:
        """The totals of an attempt that I took part in, from everybody's signed answers (mine included).

        With it a hospital need not believe the coordinator's sum, from which its next arguments
        follow. KeysError for an answer that is missing, changed, swapped, or of another attempt.
        """
        self._check("add")
        context, message = self._said(round, attempt)
        mine = answers.get(self.name)
        if mine is None or hashed(mine.rings) != message:
            raise KeysError(f"the answer given for {self.name!r} is not the one it sent in round {round}")
        return self._went("add", add_answers(self._roster, context, answers, mine=self.name))

    def overhear(
        self, round: int, digest: bytes, answers: Mapping[str, Answer], *, members: tuple[str, ...], blinded: bool
    ) -> Sequence[Ring]:
        """The totals of a group that this hospital is not in, from its members' signed answers to this digest."""
        self._check("add")
        context = self._context(round, digest, members, blinded, 0)
        return self._went("add", add_answers(self._roster, context, answers))

    def unblind(
        self,
        round: int,
        digest: bytes,
        totals: Sequence[Ring],
        *,
        members: tuple[str, ...] | None = None,
        attempt: int = 0,
    ) -> list[Ring]:
        """Totals of a round masked with `blinded`, with the group's stream taken off."""
        self._check("unblind")
        context = self._context(round, digest, members, True, attempt)
        return self._went("unblind", masks.unblind(totals, context, self._group))

    def context(self, round: int, attempt: int = 0) -> Context:
        """What the message of an attempt was bound to. KeysError before `mask`."""
        return self._said(round, attempt)[0]

    @property
    def group_secret(self) -> bytes:
        """What all hospitals of the run share and the coordinator lacks (32,): keys of folds and samples."""
        self._check("secret")
        return self._went("secret", self._group)

    @property
    def seed(self) -> bytes:
        """My part of the group secret, for this hospital's own disk: give it to a later epoch's `hello`."""
        if self.name not in self._seeds:
            raise KeysError(f"a session in state {self.state!r} has no seed")
        return self._seeds[self.name]

    @property
    def members(self) -> tuple[str, ...]:
        """The run's hospitals in roster order; empty before `agree`."""
        return tuple(self._hellos)

    def close(self) -> None:
        """Forget every secret of the run."""
        self._check("close")
        self._forget()
        self.pairs = None
        self._went("close", None)

    def _forget(self) -> None:
        self._private = None
        self._hello = self._id = self._group = b""
        self._hellos, self._secrets, self._seeds = {}, {}, {}
        self._asked, self._sent = {}, {}

    def _check(self, event: str) -> None:
        if (self.state, event) not in TABLE:
            legal = sorted(known for state, known in TABLE if state == self.state)
            raise KeysError(f"a session in state {self.state!r} cannot {event!r}; it can {legal}")

    def _went(self, event: str, result: T) -> T:
        self.state = TABLE[self.state, event]
        return result

    def _said(self, round: int, attempt: int) -> tuple[Context, bytes]:
        if (round, attempt) not in self._sent:
            raise KeysError(f"nothing was masked for attempt {attempt} of round {round}")
        return self._sent[round, attempt]

    def _sealed_for(self, other: str) -> bytes:
        return agreement.seal(self._secrets[other], self._id, (self.name, other), self._seeds[self.name])

    def _context(
        self, round: int, digest: bytes, members: tuple[str, ...] | None, blinded: bool, attempt: int
    ) -> Context:
        """The context of a message. KeysError for a group under three, repeated or strange members."""
        if len(digest) != _DIGEST_BYTES:
            raise KeysError(f"the digest of an ask has {_DIGEST_BYTES} bytes, not {len(digest)}")
        group = self.members if members is None else tuple(sorted(members))
        if len(set(group)) != len(group) or not set(group) <= set(self.members):
            raise KeysError(f"{list(group)} is not a group of the run's hospitals {list(self.members)}")
        if len(group) < FEWEST_MEMBERS:
            raise KeysError(f"a group has {FEWEST_MEMBERS} hospitals at least, not {len(group)}")
        label = masks.BLINDED if blinded else masks.SUM
        run = self._run
        return Context(run.study, self._id, run.epoch, round, attempt, group, digest, label)


def add_answers(roster: Roster, context: Context, answers: Mapping[str, Answer], mine: str = "") -> Sequence[Ring]:
    """The totals of one attempt, each answer verified. KeysError unless exactly the members' are there.

    `mine` is who is adding, if a member: it has compared its own answer with what it sent.
    """
    if set(answers) != set(context.members):
        raise KeysError(f"answers are needed of {list(context.members)}, not of {sorted(answers)}")
    bound = context.encoded()
    messages = tuple(hashed(answers[name].rings) for name in context.members)
    for name, message in zip(context.members, messages, strict=True):
        if name != mine:
            verify(roster.keys[name], answers[name].signature, "answer", bound, name.encode(), message)
    given = _Given(messages, [answers[name].rings for name in context.members])
    return _total(given) if _short(given.rings[0]) else masks.add_masked(given.rings)


class _Given:
    """Everybody's arrays, which are equal if their hashes are."""

    def __init__(self, messages: tuple[bytes, ...], rings: list[Sequence[Ring]]) -> None:
        self.messages, self.rings = messages, rings

    def __hash__(self) -> int:
        return hash(self.messages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given) and self.messages == other.messages


@lru_cache(maxsize=1)  # in one process many hospitals add up the same
def _total(given: _Given) -> tuple[Ring, ...]:
    """The totals, which nobody may write to."""
    totals = tuple(masks.add_masked(given.rings))
    for total in totals:
        total.flags.writeable = False
    return totals


class _Said:
    """A message that is found by its first bytes, which are masked and so of no other; it is equal if all bytes are."""

    def __init__(self, message: bytes) -> None:
        self.message = message

    def __hash__(self) -> int:
        return hash(self.message[:_FIRST])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Said) and self.message == other.message


def _short(rings: Sequence[Ring]) -> bool:
    """Whether arrays are short enough to be remembered."""
    return sum(ring.nbytes for ring in rings) <= SHORT


def hashed(rings: Sequence[Ring]) -> bytes:
    """SHA-256 (32,) of arrays with their shapes: of masked ones what is written down and signed."""
    if isinstance(rings, tuple) and (known := _KNOWN.get(id(rings))) is not None and known[0] is rings:
        return known[1]
    if _short(rings):
        message = _hash_of(_Said(fixed.to_bytes(rings)))
        if isinstance(rings, tuple) and not any(ring.flags.writeable for ring in rings):
            if len(_KNOWN) >= _MANY:
                _KNOWN.clear()
            _KNOWN[id(rings)] = rings, message
        return message
    whole = hashlib.sha256()
    for piece in fixed.pieces(rings):
        whole.update(piece)
    return whole.digest()


@lru_cache(maxsize=64)  # in one process many hospitals hash the same message; to compare it costs far less
def _hash_of(said: _Said) -> bytes:
    return hashlib.sha256(said.message).digest()
