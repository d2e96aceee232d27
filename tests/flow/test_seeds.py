"""Derived seeds: the same for the same use on every machine, and another for every other use."""

import hashlib

from pairedit_sdk.flow.seeds import derive_seed


def test_a_seed_is_the_hash_of_its_path():
    digest = hashlib.sha256(b"3/17/noise").digest()
    assert derive_seed(3, 17, "noise") == int.from_bytes(digest[:8], "big") // 2
    assert derive_seed(0, 0) == 3065247057545751466


def test_every_use_has_its_own():
    paths = [(), *((k,) for k in range(100)), *((k, j) for k in range(100) for j in range(10))]
    seeds = {derive_seed(seed, *path) for seed in range(5) for path in paths}
    assert len(seeds) == 5 * len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)
