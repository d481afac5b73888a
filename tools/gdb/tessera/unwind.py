"""Backtraces through exceptions and interrupts, and an end to each.

arch/x86_64/traps.S has saved all registers, as a struct trap_frame, when it calls trap(), but nothing in the ELF file
says so; and boot/entry.S begins each CPU's stack with a return address of 0, behind which lies a guard page.
"""

import gdb
from gdb.unwinder import Unwinder, register_unwinder

ENTRY = "trap_entry"  # the function in traps.S
GDB_NAMES = {"rflags": "eflags"}  # what gdb calls the register


class FrameId:  # pylint: disable=too-few-public-methods
    """How gdb tells a frame from others."""

    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Traps(Unwinder):
    """From trap_entry to what it interrupted; and from a return address of 0 to nowhere."""

    def __init__(self):
        super().__init__("tessera")
        self.place = None  # where trap() returns to

    def __call__(self, pending):
        sp, pc = pending.read_register("rsp"), pending.read_register("rip")
        if int(pc) == 0:
            nowhere = pending.create_unwind_info(FrameId(sp, pc))
            nowhere.add_saved_register("rip", pc)  # gdb asks for its caller, too, though it shows none of a 0
            nowhere.add_saved_register("rsp", sp + 8)
            return nowhere
        if int(pc) != self.return_place(pending.architecture()):
            return None
        kind = gdb.lookup_type("struct trap_frame")
        saved = bytes(gdb.selected_inferior().read_memory(int(sp) + 16, kind.sizeof))
        caller = pending.create_unwind_info(FrameId(sp, pc))
        for field in kind.fields():
            if field.name not in ("vector", "error"):
                value = saved[field.bitpos // 8:][:8]
                if field.name == "rip":
                    value = past_its_beginning(value)
                name = GDB_NAMES.get(field.name, field.name)
                register = pending.read_register(name).type  # not all have 8 bytes
                caller.add_saved_register(name, gdb.Value(value[:register.sizeof], register))
        return caller

    def return_place(self, architecture):
        """Behind the one call in trap_entry."""
        if self.place is None:
            self.place = 0
            try:
                entry = int(gdb.parse_and_eval(f"(unsigned long)&{ENTRY}"))
                code = architecture.disassemble(entry, count=40)
            except gdb.error:  # no symbols, or no memory yet
                return 0
            self.place = next((i["addr"] + i["length"] for i in code if i["asm"].startswith("call")), 0)
        return self.place

    def forget(self, _event=None):
        self.place = None


def past_its_beginning(pc):
    """gdb takes it for a return address, and looks before it: at a function's first byte that is the one above."""
    number = int.from_bytes(pc, "little")
    first = " + " not in gdb.execute(f"info symbol {number:#x}", to_string=True)
    return (number + first).to_bytes(8, "little")


UNWINDER = Traps()
register_unwinder(None, UNWINDER, replace=True)
gdb.events.new_objfile.connect(UNWINDER.forget)
gdb.events.cont.connect(UNWINDER.forget)
