"""Identities, rosters and what is agreed on before a run."""

from __future__ import annotations

import hashlib
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.errors import KeysError
from confrere.sums import agreement, keys
from confrere.sums.frames import frames, number, unframes
from confrere.sums.keys import Identity, Roster, fingerprint, rotate, verify

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)
NAMES = ("curie", "lyon", "rennes", "toulouse")
PARTS = st.lists(st.binary(max_size=12), max_size=5)


def identity(name: str) -> Identity:
    """The same key for the same name, every time the tests run."""
    return Identity.from_bytes(hashlib.sha256(name.encode()).digest())


def roster(names: tuple[str, ...] = NAMES) -> Roster:
    result = Roster({name: identity(name).public for name in names})
    for name in names:
        result = result.signed(name, identity(name))
    return result


@SETTINGS
@given(PARTS, PARTS)
def test_frames_are_injective_and_reversible(a: list[bytes], b: list[bytes]) -> None:
    assert (frames(*a) == frames(*b)) == (a == b)
    assert unframes(frames(*a)) == tuple(a)


@SETTINGS
@given(st.binary(max_size=40))
def test_bytes_that_are_no_frames_are_refused(data: bytes) -> None:
    try:
        parts = unframes(data)
    except KeysError:
        return
    assert frames(*parts) == data


def test_numbers_have_one_form() -> None:
    assert number(258) == b"\x02\x01" + bytes(6)
    for wrong in (-1, 1 << 63):
        with pytest.raises(KeysError, match="not a number from 0"):
            number(wrong)


# Identity


def test_an_identity_survives_its_own_disk_and_shows_nothing() -> None:
    made = Identity.generate()
    again = Identity.from_bytes(made.to_bytes())
    assert again.public == made.public
    assert made.to_bytes().hex() not in repr(made)
    assert made.fingerprint in repr(made)
    with pytest.raises(KeysError, match="32 bytes, not 5"):
        Identity.from_bytes(b"short")


def test_a_fingerprint_can_be_read_by_telephone() -> None:
    assert re.fullmatch(r"(\d{5} ){7}\d{5}", fingerprint(bytes(32)))
    assert len({fingerprint(bytes([i]) + bytes(31)) for i in range(256)}) == 256
    # Pinned: a fingerprint on paper must stay readable by every later version.
    assert fingerprint(bytes(32)) == "18035 63690 57819 07546 52388 66470 32901 51836"


def test_a_signature_holds_for_its_use_and_parts_only() -> None:
    key = identity("curie")
    signature = key.sign("hello", b"ab", b"c")
    verify(key.public, signature, "hello", b"ab", b"c")
    for public, sig, use, parts in (
        (key.public, signature, "roster", (b"ab", b"c")),
        (key.public, signature, "hello", (b"a", b"bc")),
        (identity("lyon").public, signature, "hello", (b"ab", b"c")),
        (key.public, signature[:-1], "hello", (b"ab", b"c")),
        (key.public, bytes(64), "hello", (b"ab", b"c")),
        (b"short", signature, "hello", (b"ab", b"c")),
    ):
        with pytest.raises(KeysError, match="is not by the key"):
            verify(public, sig, use, *parts)


def test_signatures_of_this_process_and_of_others_are_verified_alike() -> None:
    """Those made here are remembered, some of them for a while: what is not is verified as one that came from afar."""
    key = identity("curie")
    signatures = [key.sign("hello", bytes([i % 256, i // 256])) for i in range(5000)]
    for i in (0, 1, 4999):
        verify(key.public, signatures[i], "hello", bytes([i % 256, i // 256]))
        with pytest.raises(KeysError, match="is not by the key"):
            verify(key.public, signatures[i], "hello", bytes([i % 256, i // 256, 0]))
    assert len(keys._MADE) <= keys._MOST < 5000
    assert signatures[0] not in keys._MADE
    assert signatures[4999] in keys._MADE


# Roster


def test_a_roster_is_sorted_signed_and_hashed() -> None:
    made = roster()
    made.verify()
    assert made.names == NAMES
    assert Roster(dict(reversed(made.keys.items()))).hash == made.hash
    with pytest.raises(TypeError):
        made.keys["evil"] = bytes(32)  # type: ignore[index]


def test_a_roster_that_not_everybody_signed_is_refused() -> None:
    made = roster()
    with pytest.raises(KeysError, match=r"not signed by \['lyon'\]"):
        Roster(made.keys, {n: s for n, s in made.signatures.items() if n != "lyon"}).verify()


@pytest.mark.parametrize("tamper", ["swap keys", "replace a key", "drop", "add", "rename", "swap signatures"])
def test_a_tampered_roster_is_refused(tamper: str) -> None:
    keys, signatures = dict(roster().keys), dict(roster().signatures)
    evil = identity("evil")
    if tamper == "swap keys":
        keys["curie"], keys["lyon"] = keys["lyon"], keys["curie"]
    elif tamper == "replace a key":
        keys["lyon"] = evil.public
        signatures["lyon"] = evil.sign("roster", b"lyon", Roster(keys).hash)
    elif tamper == "drop":
        del keys["lyon"], signatures["lyon"]
    elif tamper == "add":
        keys["evil"] = evil.public
        signatures["evil"] = evil.sign("roster", b"evil", Roster(keys).hash)
    elif tamper == "rename":
        keys["lyons"], signatures["lyons"] = keys.pop("lyon"), signatures.pop("lyon")
    else:
        signatures["curie"], signatures["lyon"] = signatures["lyon"], signatures["curie"]
    with pytest.raises(KeysError, match="is not by the key"):
        Roster(keys, signatures).verify()


def test_who_cannot_be_a_member() -> None:
    keys = dict(roster().keys)
    with pytest.raises(KeysError, match="3 hospitals at least, not 2"):
        Roster({name: keys[name] for name in NAMES[:2]})
    with pytest.raises(KeysError, match="the same key"):
        Roster({**keys, "twin": keys["curie"]})
    with pytest.raises(KeysError, match="upper and lower case"):
        Roster({**keys, "Curie": identity("Curie").public})
    for name in ("", " curie", "cu\nrie", "x" * 65, "ﬁnistère", "a\u202eb"):
        with pytest.raises(KeysError, match="no hospital's name"):
            Roster({**keys, name: identity("other").public})
    with pytest.raises(KeysError, match="has 5 bytes, not 32"):
        Roster({**keys, "brest": b"short"})
    with pytest.raises(KeysError, match=r"signed by \['evil'\], who are not in it"):
        Roster(keys, {"evil": bytes(64)})
    with pytest.raises(KeysError, match="not a member"):
        roster().signed("lyon", identity("evil"))


def test_a_key_is_handed_over_by_the_old_key_and_everybody_signs_again() -> None:
    old, new = identity("lyon"), identity("lyon, second key")
    changed = roster().rotated(rotate("lyon", old, new))
    assert changed.keys["lyon"] == new.public
    assert changed.hash != roster().hash
    with pytest.raises(KeysError, match="not signed by"):
        changed.verify()


def test_a_forged_handover_is_refused() -> None:
    good = rotate("lyon", identity("lyon"), identity("new"))
    evil = rotate("lyon", identity("evil"), identity("new"))
    for forged in (
        evil,  # the old key is not lyon's
        evil._replace(old=identity("lyon").public),  # signed by somebody else
        good._replace(new=identity("evil").public),  # another new key
        good._replace(name="curie"),
        good._replace(by_new=good.by_old),  # the new key never consented
    ):
        with pytest.raises(KeysError):
            roster().rotated(forged)


# Agreement

RUN = agreement.Run(b"study", roster().hash, 1)


def say(name: str, run: agreement.Run = RUN, who: str = "", key: bytes = b"") -> bytes:
    public = key or hashlib.sha256(b"fresh" + name.encode()).digest()
    return agreement.say_hello(identity(who or name), run, name, public, bytes(32))


def test_hellos_are_read_in_roster_order() -> None:
    hellos = {name: say(name) for name in reversed(NAMES)}
    assert tuple(agreement.read_hellos(RUN, roster(), hellos)) == NAMES


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        (say("lyon", RUN._replace(study=b"other study")), "is for study"),
        (say("lyon", RUN._replace(roster=bytes(32))), "is for roster"),
        (say("lyon", RUN._replace(epoch=0)), "is for epoch 0, but this run has 1"),
        (say("curie"), "is for name 'curie'"),
        (say("lyon", who="evil"), "is not by the key"),
        (say("lyon", key=hashlib.sha256(b"freshcurie").digest()), "the same key"),
        (say("lyon")[:-1], "ends inside its part"),
        (say("lyon") + bytes(8), "are not a hello"),
        (b"", "are not a hello"),
        (frames(b"", bytes(32), bytes(8), b"\xff", bytes(32), bytes(32), bytes(64)), "not text"),
    ],
)
def test_a_replayed_swapped_or_forged_hello_is_refused(hello: bytes, message: str) -> None:
    hellos = {name: say(name) for name in NAMES} | {"lyon": hello}
    with pytest.raises(KeysError, match=message):
        agreement.read_hellos(RUN, roster(), hellos)


def test_a_hello_of_a_stranger_is_refused() -> None:
    with pytest.raises(KeysError, match="not in the roster"):
        agreement.read_hellos(RUN, roster(), {"evil": say("evil")})


def test_every_bit_of_a_hello_is_signed() -> None:
    hello = say("lyon")
    for at in range(0, 8 * len(hello), 7):
        changed = bytearray(hello)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(KeysError):
            agreement.read_hellos(RUN, roster(), {"lyon": bytes(changed)})


def test_the_run_id_depends_on_everything_signed() -> None:
    hellos = {name: say(name) for name in NAMES}
    base = agreement.run_id(b"study", RUN.roster, hellos)
    assert agreement.run_id(b"study", RUN.roster, dict(reversed(hellos.items()))) == base
    others = {
        agreement.run_id(b"study 2", RUN.roster, hellos),
        agreement.run_id(b"study", bytes(32), hellos),
        agreement.run_id(b"study", RUN.roster, {**hellos, "lyon": hellos["curie"]}),
        agreement.run_id(b"study", RUN.roster, {n: h for n, h in hellos.items() if n != "lyon"}),
    }
    assert len(others | {base}) == 5


def private(name: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def test_a_pair_shares_one_secret_bound_to_run_and_names() -> None:
    a, b = private("a"), private("b")
    publics = [key.public_key().public_bytes_raw() for key in (a, b)]
    secret = agreement.pair_secret(a, publics[1], b"run", ("a", "b"))
    assert agreement.pair_secret(b, publics[0], b"run", ("b", "a")) == secret
    assert agreement.pair_secret(a, publics[1], b"run 2", ("a", "b")) != secret
    assert agreement.pair_secret(a, publics[1], b"run", ("a", "c")) != secret


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_key_that_makes_the_secret_known_to_all_is_refused(point: bytes) -> None:
    with pytest.raises(KeysError, match="not a usable X25519 key"):
        agreement.pair_secret(private("a"), point, b"run", ("a", "b"))


def test_a_sealed_seed_opens_on_its_own_path_only() -> None:
    secret, seed = bytes(range(32)), bytes(range(32, 64))
    sealed = agreement.seal(secret, b"run", ("a", "b"), seed)
    assert agreement.unseal(secret, b"run", ("a", "b"), sealed) == seed
    assert seed not in sealed
    assert agreement.seal(secret, b"run", ("a", "b"), seed) != sealed
    for key, run, path, data in (
        (bytes(32), b"run", ("a", "b"), sealed),
        (secret, b"run 2", ("a", "b"), sealed),
        (secret, b"run", ("b", "a"), sealed),  # sent back to its sender
        (secret, b"run", ("a", "c"), sealed),
        (secret, b"run", ("a", "b"), sealed[:-1]),
        (secret, b"run", ("a", "b"), b""),
    ):
        with pytest.raises(KeysError, match="is not for"):
            agreement.unseal(key, run, path, data)
    with pytest.raises(KeysError, match="32 bytes, not 3"):
        agreement.unseal(secret, b"run", ("a", "b"), agreement.seal(secret, b"run", ("a", "b"), b"abc"))


def test_the_group_secret_needs_every_seed_in_its_place() -> None:
    seeds = {name: hashlib.sha256(name.encode()).digest() for name in NAMES}
    base = agreement.group_secret(b"study", RUN.roster, seeds)
    assert agreement.group_secret(b"study", RUN.roster, dict(reversed(seeds.items()))) == base
    swapped = {**seeds, "curie": seeds["lyon"], "lyon": seeds["curie"]}
    fewer = {name: seeds[name] for name in NAMES[:3]}
    others = [agreement.group_secret(b"study", RUN.roster, s) for s in (swapped, fewer)]
    others += [agreement.group_secret(b"study 2", RUN.roster, seeds)]
    assert len({base, *others}) == 4
