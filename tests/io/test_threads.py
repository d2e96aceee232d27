"""How OpenMP's threads wait is set once, and never against the user."""

import pytest

from pairedit_sdk.io.threads import SPIN, wait_politely


def test_nothing_said_means_a_short_spin():
    environment = {"PATH": "/bin"}
    wait_politely(environment)
    assert environment == {"PATH": "/bin", **SPIN}


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_whoever_has_said_anything_has_decided(name):
    environment = {name: "5"}
    wait_politely(environment)
    assert environment == {name: "5"}
