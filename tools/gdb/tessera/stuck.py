"""stuck - where each CPU of a machine is, asked of QEMU from outside: the kernel need not be able to say anything.

    lines(hmp, place)   hmp(command, cpu) asks QEMU's monitor, place(address) names one as name+0x12. Stop the machine first
"""

import re

MOST = 8  # callers


def lines(hmp, place):
    """For each CPU that has come to 64-bit mode, its name and its place, then who called, innermost first."""
    found = []
    for cpu, text in enumerate(re.split(r"CPU#\d+", hmp("info registers -a", 0))[1:]):
        value = {name: int(v, 16) for name, v in re.findall(r"\b(RIP|RSP|RBP)=([0-9a-f]+)", text)}
        if len(value) == 3:
            found.append((f"CPU {cpu}", " < ".join([place(value["RIP"]), *frameless(hmp, place, cpu, value["RIP"], value["RSP"]),
                                                    *callers(hmp, place, cpu, value["RBP"])])))
    return found


def frameless(hmp, place, cpu, pc, stack):
    """Who called, where the function at pc has no frame yet, or no longer: the chain begins with the next one."""
    def byte(at):
        return hmp(f"x/1bx {at:#x}", cpu).rpartition(":")[2].strip()

    offset = place(pc).rpartition("+")[2]
    if offset == "0x1" and byte(pc - 1) == "0x55":  # push %rbp is done
        stack += 8
    elif offset != "0x0" and byte(pc) != "0xc3":  # ret
        return []
    word = re.search(r": 0x([0-9a-f]{16})", hmp(f"x/1gx {stack:#x}", cpu))
    return [place(int(word[1], 16) - 1)] if word else []


def callers(hmp, place, cpu, frame):
    """Along the chain of frame pointers."""
    found = []
    while len(found) < MOST and frame >> 47 == 0x1FFFF:
        words = re.findall(r"0x([0-9a-f]{16})", hmp(f"x/2gx {frame:#x}", cpu).partition(":")[2])
        if len(words) < 2:
            break
        outer, back = (int(word, 16) for word in words)
        if not back:
            break  # here this CPU began
        found.append(place(back - 1))
        if outer <= frame:
            break
        frame = outer
    return found
