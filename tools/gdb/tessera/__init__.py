"""The word `mm` in gdb: Tessera's memory, read from outside. `help mm` lists what it can do.

One small file a matter. What they stand on:

    machine.py  the machine that gdb is stopped on, read physically, so that nothing in it need work
    paging.py   page tables as the CPU reads them; knows no gdb
    words.py    how things are said, as the kernel says them
    command.py  what all commands share: arguments, errors, output
"""

import importlib
import pkgutil


def load():
    """Import every file here; each that holds commands adds them to gdb. Again: nothing."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
