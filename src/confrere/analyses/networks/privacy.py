"""What noise promises: Renyi differential privacy of Gaussian noise, added up over rounds, and as (epsilon, delta).

Noise of z times the most that one unit (a hospital, a person) can change a sum gives, at the order a, a / (2 z^2) each
time (Mironov, CSF 2017). Where each unit takes part with probability q, independently of the others, it is, for whole
orders, log(sum_i C(a, i) (1 - q)^(a - i) q^i exp((i^2 - i) / (2 z^2))) / (a - 1) (Mironov, Talwar & Zhang, 2019,
arXiv:1908.10530, as Opacus and TensorFlow Privacy have it). Rounds add up. As (epsilon, delta): Balle et al., AISTATS
2020 (arXiv:1905.09982), Theorem 21.

Noise is drawn from a stream of ChaCha20 under a key of the hospital's own: nobody else can know it, and what is asked
again gets the same noise, not another sample of it. It is Gaussian to double precision and then rounded to the ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from confrere.rounds import Array, Ints

if TYPE_CHECKING:
    from confrere.analyses.networks.network import Network

ORDERS: Ints = np.array([*range(2, 64), *range(64, 257, 4), 320, 384, 512, 768, 1024])


def renyi(multiplier: float, rounds: int, sample: float = 1.0) -> Array:
    """Renyi divergences (orders,) of so many rounds, at `ORDERS`; `sample` is the probability to take part."""
    if sample == 1.0:
        return np.asarray(rounds * ORDERS / (2 * multiplier**2))
    each = []
    for a in ORDERS:
        i = np.arange(a + 1)
        binomial = special.gammaln(a + 1) - special.gammaln(i + 1) - special.gammaln(a - i + 1)
        terms = binomial + i * np.log(sample) + (a - i) * np.log1p(-sample) + (i**2 - i) / (2 * multiplier**2)
        each.append(special.logsumexp(terms) / (a - 1))
    return rounds * np.array(each)


def epsilon(multiplier: float, rounds: int, delta: float, sample: float = 1.0) -> float:
    """The epsilon at `delta`; infinite without noise."""
    if multiplier <= 0:
        return np.inf
    found = renyi(multiplier, rounds, sample) + np.log1p(-1 / ORDERS) - np.log(delta * ORDERS) / (ORDERS - 1)
    return float(max(0.0, found.min()))


def against(multiplier: float, hospitals: int, colluding: int = 1) -> float:
    """The multiplier that is left against so many `colluding`, of noise of which all `hospitals` add equal parts.

    Parts are independent, so that variances add up; who knows some of them takes these off, and the others' are left:
    z sqrt((H - c) / H).
    """
    return float(multiplier * np.sqrt(max(0, hospitals - colluding) / hospitals))


def gaussian(size: int, key: bytes, number: int) -> Array:
    """Standard normal numbers (size,) of a key (32 bytes) and a number below 2^63 that is not used twice for it.

    Box and Muller's, of 53 bits each; the largest is 8.5.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    pairs = (size + 1) // 2
    nonce = b"\0" * 8 + number.to_bytes(8, "little")
    stream = Cipher(algorithms.ChaCha20(key, nonce), mode=None).encryptor().update(bytes(16 * pairs))
    uniform = ((np.frombuffer(stream, dtype="<u8") >> np.uint64(11)) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]


def promised(of: Network, hospitals: int) -> dict[str, Any]:
    """What noise promises: against whoever has no part in it, and against the others with one of the hospitals."""
    if not of.privacy:
        return {}
    sample, many, left = 1.0, of.rounds, against(of.privacy, hospitals)
    if of.privacy_unit == "person":  # of whom their own hospital's noise is enough
        sample, many, left = of.sample, many * (of.steps_a_round or of.epochs * round(1 / of.sample)), of.privacy
    alone, joined = (epsilon(noise, many, of.delta, sample) for noise in (of.privacy, left))
    facts = {"epsilon": alone, "delta": of.delta, "privacy_unit": of.privacy_unit}
    return facts | ({"epsilon_if_one_colludes": joined} if hospitals > 1 else {})
