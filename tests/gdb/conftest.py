"""Fixtures of tests/gdb: machines with a gdb beside them. `/usr/bin/python3 -m pytest tests/gdb` after `make`."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/qemu"), str(ROOT / "tools/gdb")]

from debugger import Debugged  # noqa: E402  pylint: disable=wrong-import-position
from machine import ELF  # noqa: E402  pylint: disable=wrong-import-position


def pytest_configure(config):
    if not ELF.exists():
        raise pytest.UsageError(f"{ELF} is not built: run `make` first")


def machines_in(path):
    """start(reset=True, LA57=1, …): a Debugged; all are gone when whoever asked is done."""
    machines = []

    def start(**variables):
        folder = path / str(len(machines))
        folder.mkdir()
        machines.append(Debugged(folder, **variables))
        return machines[-1]

    yield start
    for guest in machines:
        guest.__exit__()


@pytest.fixture
def debug(tmp_path):
    """Machines of one test."""
    yield from machines_in(tmp_path)


@pytest.fixture(scope="module")
def module_debug(tmp_path_factory):
    """Machines that all tests of a file share."""
    yield from machines_in(tmp_path_factory.mktemp("machines"))
