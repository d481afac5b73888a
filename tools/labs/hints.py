"""hints - what is told with a failure; and how it is kept out of sight in a student's tree.

Hints name the mistake, so a list of all of them gives a lab away: the first student who tried one opened lab.toml and read
it. But `make grade` needs them in his tree, too. So there they are packed: nobody sees them by chance, or finds them
with grep. That is no lock, and is not meant for one. In the master lab.toml has them as [[hint]], one by one.
"""

import base64
import binascii
import collections
import json
import re
import zlib

Hint = collections.namedtuple("Hint", "id test says text")
# Of mistakes that are the same in each lab; asked when no hint of the lab itself fits.
GENERAL = [Hint(*fields) for fields in (
    ("recursion", "*", "PANIC #DF|deep recursion",
     "The stack was used up: a function calls itself, perhaps by way of another, and never comes to an end. The names that come again "
     "and again among the callers are the circle. What becomes smaller, or larger, with each call, and where does it stop?"),
    ("lock-held", "*", "spin_lock: CPU \\d+ holds '",
     "A lock was to be taken by who has it already: he would wait for himself. Somewhere up the list of callers the lock was taken. "
     "What is called with it held must not take it again, nor call a function that does; the comments above functions say which "
     "locks they are called with."),
    ("lock-order", "*", "spin_lock: CPU \\d+ waits for ",
     "Two locks were taken in the wrong order. If another CPU takes them the other way round, each waits for the other for ever. "
     "Take the outer one first, or let go of the one before you call what takes the other."),
)]
NOTE = """
# What the grader says of a failure beyond the failure itself: its hints, packed (JSON, zlib, base64), as they tell the
# answers. You see each when it is yours: `make grade` shows the one that fits. Nothing stops you from unpacking them,
# but then they can teach you nothing.
"""


def of(data):
    """All hints of a lab.toml, packed or not; KeyError names what one lacks, ValueError says what is wrong."""
    if "packed" in data:
        return unpack(data["packed"]["hints"])
    return [Hint(h["id"], h["test"], h["says"], h["text"]) for h in data.get("hint", [])]


def unpack(text):
    try:
        return [Hint(*fields) for fields in json.loads(zlib.decompress(base64.b64decode(text, validate=False)))]
    except (binascii.Error, zlib.error, ValueError, TypeError) as error:
        raise ValueError(f"the packed hints are damaged ({error}): `git checkout lab.toml` brings them back") from None


def pack(text, hints):
    """lab.toml's text with these, which it has as [[hint]], out of sight."""
    if not hints:
        return text
    without = re.sub(r"^(#[^\n]*\n|\n)*\[\[hint\]\].*?(?=^\[(?!\[hint\]\])|\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
    packed = base64.encodebytes(zlib.compress(json.dumps(hints).encode(), 9)).decode()
    return f"{without.rstrip()}\n{NOTE}[packed]\nhints = \"\"\"\n{packed}\"\"\"\n"
