"""What gdb loads together with tessera.elf: it adds the word `mm`, see `help mm`.

gdb reads the file named like the ELF plus "-gdb.py" by itself, if it may (`add-auto-load-safe-path build`);
the Makefile puts a copy of this one there. By hand: source tools/gdb/tessera-gdb.py
"""

import os
import sys


def package_folder():
    """Where the package `tessera` lies: beside this file, or, beside build/, in tools/gdb."""
    here = os.path.dirname(os.path.abspath(__file__))
    for folder in here, os.path.join(here, "..", "tools", "gdb"):
        if os.path.isdir(os.path.join(folder, "tessera")):
            return os.path.normpath(folder)
    raise ImportError(f"no folder tools/gdb/tessera beside {here}: source tools/gdb/tessera-gdb.py of the kernel's tree")


sys.dont_write_bytecode = True
if package_folder() not in sys.path:
    sys.path.insert(0, package_folder())

import tessera  # noqa: E402  pylint: disable=wrong-import-position

tessera.load()
