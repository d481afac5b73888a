"""mm boot, type, save, open: the machine's life, from its first instruction to the core that it leaves.

`make gdb` begins with start(), `make core` with `mm open`. A machine that `mm boot` started has QEMU at the other
end of a pipe: nobody else can reach it, and it ends with gdb, however that ends (tools/run, GDB=1).
"""

import contextlib
import os
import re
import shlex

import gdb

from . import console
from .command import Command, is_terminal
from .core import Core, elf_headers, map_virtual
from .machine import IMAGE_BASE, Problem, symbol

RUN = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../run"))


def rundir():
    return os.path.abspath(os.environ.get("RUNDIR") or "build/run")


def console_path():
    return os.path.join(rundir(), "console.txt")


def kernel():
    """The ELF file that gdb has."""
    name = gdb.current_progspace().filename
    if not name:
        raise Problem("gdb has no kernel: `file build/tessera.elf` gives it one")
    return name


def is_live():
    """Is gdb connected to a machine that can run?"""
    connection = gdb.selected_inferior().connection
    return connection is not None and connection.type != "core" and bool(gdb.selected_inferior().threads())


class Boot(Command):
    """start a machine, stopped at its first instruction

mm boot [NAME=VALUE...] [WORD...]

It is QEMU, as `make run` starts it, with the kernel that gdb has. Names are those of `make`: MEM=1G CPUS=4 LA57=1
BOOT=iso; the words are for the kernel (docs/kernel-words.md). What is not given is as it was the last time. A machine
that is there already is ended; breakpoints stay. What the kernel says appears here behind "| ", and in
build/run/console.txt.

    mm boot                     once more from the beginning
    mm boot LA57=1 tour exit    with 5 levels of page tables; the tour, then power off"""

    name, usage, completes = "boot", "[NAME=VALUE...] [WORD...]", gdb.COMPLETE_NONE

    def run(self, text):
        words = self.split(text)
        variables = dict(word.split("=", 1) for word in words if re.match("[A-Z0-9]+=", word))
        words = [word for word in words if not re.match("[A-Z0-9]+=", word)]
        os.environ.update(variables | ({"APPEND": " ".join(words)} if words else {}) | {"KERNEL": kernel()})
        os.environ.setdefault("BOOT", "direct")
        if is_live():
            gdb.execute("with confirm off -- kill")
        self.connect()
        console.show(console_path())

    def split(self, text):
        try:
            return shlex.split(text)
        except ValueError as problem:
            raise self.misused(f"{text}: {problem}") from problem

    @staticmethod
    def connect():
        """QEMU may take its time to come up: this host may be busy."""
        try:
            gdb.execute(f"with remotetimeout 60 -- target remote | GDB=1 exec {shlex.quote(RUN)}")
        except gdb.error as problem:
            raise Problem(f"no machine was started: {problem}") from problem


class Type(Command):
    """type a line at the kernel's prompt

mm type [TEXT]

The kernel reads it, and Enter behind it, as soon as it runs and asks. So type while it is stopped, then `continue`.

    mm type vmalloc 64K
    break vmalloc
    continue"""

    name, usage, completes = "type", "[TEXT]", gdb.COMPLETE_NONE

    def run(self, text):
        path = os.path.join(rundir(), "typed")
        try:
            keys = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as problem:
            raise Problem(f"nobody reads what is typed ({problem}): `mm boot` starts a machine that does;\n"
                          "  with another one, type on its own console") from problem
        try:
            os.write(keys, text.encode() + b"\r")
        except BlockingIOError as problem:
            raise Problem("the kernel has not read yet what was typed before: let it run, then type again") from problem
        finally:
            os.close(keys)


class Save(Command):
    """write the machine's memory and registers to a core file

mm save [FILE]

FILE is build/run/core if not given; it is as large as the machine's RAM. The machine stays as it is. Later
`mm open FILE`, or `make core`, shows all this again, without a machine."""

    name, usage, completes = "save", "[FILE]", gdb.COMPLETE_FILENAME

    def run(self, text):
        if not is_live():
            raise Problem("mm save: there is no machine: `mm boot` starts one")
        path = core_path(text)
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        said = gdb.execute(f'monitor dump-guest-memory "{path}"', to_string=True)
        try:
            map_virtual(path)
        except OSError as problem:
            raise Problem(f"mm save: QEMU wrote no {path}: {said.strip() or problem}") from problem
        except ValueError as problem:
            raise Problem(f"mm save: {problem}") from problem
        gdb.write(f"{short(path)} is written: `mm open {short(path)}` shows it, when this machine has gone\n")


class Open(Command):
    """look at a core file: a machine that has gone

mm open [FILE]

FILE is build/run/core if not given: `make run CORE=1` leaves it there when the machine ends, however it does, and so
does `mm save`. What does not need the machine to run works as before: bt, info threads, print, x; mm walk, mm map, …"""

    name, usage, completes = "open", "[FILE]", gdb.COMPLETE_FILENAME

    def run(self, text):
        path = core_path(text)
        if is_live():
            raise Problem("mm open: a machine is there: `kill` ends it, then open the core")
        if not os.path.exists(path):
            raise Problem(f"there is no core {short(path)}\n"
                          "  `make run CORE=1` leaves one when the machine ends, panics or hangs (Ctrl-A c: at once);\n"
                          "  `mm save` in `make gdb` writes one of the machine as it is then")
        try:
            map_virtual(path)
            core = Core(path)
        except (OSError, ValueError) as problem:
            raise Problem(f"mm open: {problem}") from problem
        gdb.execute(f"core-file {path}")
        check_kernel(core)


def core_path(text):
    return os.path.abspath(os.path.expanduser(text) or os.path.join(rundir(), "core"))


def short(path):
    """As seen from here, if it lies below."""
    return path if os.path.relpath(path).startswith("..") else os.path.relpath(path)


def check_kernel(core):
    """Is the code in the core that of gdb's kernel? If not, all names and lines are wrong."""
    with open(kernel(), "rb") as file:
        elf = file.read()
    for header in elf_headers(elf):
        code = elf[header.at:header.at + header.in_file]
        if header.kind == 1 and header.flags & 1 and core.read(header.pa, header.in_file) != code:
            gdb.write(f"warning: the machine of this core ran another kernel than {short(kernel())}: its code differs,\n"
                      "  so names and lines will be wrong. KERNEL=FILE gives the right one\n")


for command in Boot, Type, Save, Open:
    command()


# A machine that is off: it powered off, or a triple fault would have reset it. QEMU keeps it, to be looked at

RUNNING = "continue step next stepi nexti finish until advance jump signal reverse-continue".split()


def is_off():
    return is_live() and "(shutdown)" in gdb.execute("monitor info status", to_string=True)


def tell_off(event):
    """Said once, when it stops for that."""
    if isinstance(event, gdb.SignalEvent) and event.stop_signal == "SIGQUIT" and is_off():
        gdb.write("The machine is off: it powered off, or was reset by a triple fault. It can be looked at, but not run on;\n"
                  "`mm boot` starts it again, `mm save` keeps it.\n")


def refuse_to_run():
    """gdb would wait for ever."""
    if is_off():
        raise Problem("the machine is off and cannot run on: `mm boot` starts it again")


gdb.events.stop.connect(tell_off)
for word in RUNNING:
    gdb.execute(f"define hook-{word}\npython tessera.session.refuse_to_run()\nend")


# What make begins with

def start():
    """For `make gdb`: boot, set BREAK=… (more than one: with blanks), and show source where there is a terminal."""
    or_leave(boot_and_break)
    if is_terminal() and os.environ.get("TUI", "1") != "0" and os.environ.get("TERM", "dumb") != "dumb":
        gdb.execute("tui enable")
        gdb.execute("focus cmd")
    gdb.write("Stopped before the first instruction of the firmware. `continue` runs; Ctrl-C stops; `help mm` lists our commands.\n"
              f"What the kernel says appears here behind \"| \", and in {short(console_path())}; `mm type TEXT` types at it.\n")


def boot_and_break():
    gdb.execute("mm boot")
    for place in os.environ.get("BREAK", "").split():
        set_break(place)


def start_core():
    """For `make core`."""
    or_leave(lambda: gdb.execute("mm open"))


def or_leave(begin):
    try:
        begin()
    except (gdb.error, gdb.GdbError) as problem:
        gdb.write(f"{problem}\n", gdb.STDERR)
        gdb.execute("with confirm off -- quit 1")


def set_break(place):
    try:
        gdb.execute(f"with breakpoint pending off -- hbreak {place}")
    except gdb.error as problem:
        raise Problem(f"BREAK={place}: {problem}\n"
                      "  BREAK must be functions, or FILE:LINE, with blanks between them") from problem


def boot_code():
    """Until it jumps up to where it was linked, boot/entry.S runs IMAGE_BASE below: give gdb its symbols there, too."""
    name = gdb.current_progspace().filename or ""
    entry = re.sub(r"([^/]*)\.elf$", r"obj/\1/boot/entry.S.o", name)
    if entry == name or not os.path.exists(entry):
        return
    at = {".data": symbol("continue_at"), ".rodata": symbol("boot_gdt"), ".multiboot": symbol("header"),
          ".boot": symbol("_start") - IMAGE_BASE}
    where = " ".join(f"-s {section} {address:#x}" for section, address in at.items())
    gdb.execute(f"add-symbol-file {entry} {where}", to_string=True)


boot_code()
