"""Random number generation as functions of numbers: seeds, and low-discrepancy sequences in 0..1."""

import hashlib
import struct

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15  # the golden ratio's fraction, of 2**64
PLASTIC = 0xC13FA9A902A6328F, 0x91E10DA5C79E7B1C  # 1 / p and 1 / p**2, p**3 = p + 1, of 2**64 (Roberts 2018, R2)


def kronecker(numbers: np.ndarray, step: int, shift: int) -> np.ndarray:
    """The fractions of n step + shift, both in units of 2**-64: (B,) uint64 -> (B,) float64 in 0..1, exact."""
    return ((numbers * np.uint64(step) + np.uint64(shift)) >> np.uint64(11)) * 2.0**-53


def own_seed(seed: int, sample: int) -> int:
    """A sample's own seed, below 2**32, the range that a generator accepts: 2**32 consecutive samples all differ.

    Addition and an invertible mixer (MurmurHash3's finalizer) guarantee this.
    """
    x = (seed_of(seed, 1) + sample) & 0xFFFFFFFF
    x = ((x ^ x >> 16) * 0x85EBCA6B) & 0xFFFFFFFF
    x = ((x ^ x >> 13) * 0xC2B2AE35) & 0xFFFFFFFF
    return x ^ x >> 16


def seed_of(*numbers: int) -> int:
    """A seed that depends on every bit of every number."""
    digest = hashlib.blake2b(struct.pack(f"<{len(numbers)}q", *numbers), digest_size=8).digest()
    return int.from_bytes(digest, "little")
