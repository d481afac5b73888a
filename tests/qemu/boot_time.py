#!/usr/bin/env python3
"""boot_time - from QEMU's start to the prompt: the median of some boots, for a few machines. By hand.

    /usr/bin/python3 tests/qemu/boot_time.py [boots]

Not a test: it measures this host, too, so let the host be idle. QEMU is started with the arguments that
tools/run gives it, with COM1 on a pipe.
"""

import importlib.machinery
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPES = [dict(BOOT="direct"), dict(BOOT="iso"), dict(BOOT="direct", MEM="6G"), dict(BOOT="iso", MEM="6G"),
          dict(BOOT="direct", LA57="1"), dict(BOOT="uefi")]


def load_tools_run():
    loader = importlib.machinery.SourceFileLoader("tools_run", str(ROOT / "tools/run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tools_run", loader))
    loader.exec_module(module)
    return module


def seconds_to_prompt(command):
    text, start = b"", time.monotonic()
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    while b"tessera> " not in text:
        more = os.read(qemu.stdout.fileno(), 65536)
        if not more:
            sys.exit(f"it ended without a prompt:\n{text.decode(errors='replace')}")
        text += more
    taken = time.monotonic() - start
    qemu.kill()
    qemu.wait()
    return taken


def main():
    boots = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    sys.dont_write_bytecode = True
    run = load_tools_run()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as rundir:
        for shape in SHAPES:
            os.environ.update({"MEM": "256M", "LA57": "", "APPEND": "", "RUNDIR": rundir} | shape)
            command = run.qemu_command(run.settings(), "stdio")
            times = sorted(seconds_to_prompt(command) for _ in range(boots))
            name = " ".join(f"{k}={v}" for k, v in shape.items())
            print(f"{name:20} median {statistics.median(times):.3f} s  of {boots}: {times[0]:.3f} … {times[-1]:.3f}",
                  flush=True)


if __name__ == "__main__":
    main()
