"""Fixtures. `/usr/bin/python3 -m pytest tests/qemu` after `make`; see machine.py for how a guest is driven."""

import pytest

import machine
from machine import ELF, Machine


def pytest_configure(config):
    if not ELF.exists():
        raise pytest.UsageError(f"{ELF} is not built: run `make` first")


@pytest.fixture
def boot(tmp_path):
    """boot(MEM="3G", …): a Machine; all are gone when the test ends."""
    machines = []

    def start(**variables):
        machines.append(Machine(tmp_path / str(len(machines)), **variables))
        return machines[-1]

    yield start
    for guest in machines:
        guest.__exit__()


@pytest.fixture
def run(tmp_path):
    """run("typed", APPEND="…"): a run to its end, without a terminal."""
    return lambda typed="", **variables: machine.run(tmp_path, typed, **variables)


@pytest.fixture
def monitor(boot):
    """A machine at its prompt."""
    guest = boot()
    guest.prompt()
    return guest
