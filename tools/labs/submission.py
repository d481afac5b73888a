"""submission - what a student handed in, as texts of the files that the lab asks for. Nothing of it is unpacked.

A submission is a folder, an archive (zip, tar, tar.gz, tar.bz2, tar.xz) or, where the lab asks for one file, that file.
Wherever in it a regular file lies whose path ends as asked for (mm/vmarea.c), it is read, up to MAX_BYTES; the outermost
counts. Links are not followed, names are only compared, never used, and an archive that unpacks to more than MAX_UNPACKED is
refused.
"""

import bz2
import gzip
import io
import lzma
import os
import pathlib
import stat
import tarfile
import zipfile

MAX_BYTES = 1 << 20  # of a file that is asked for
MAX_UNPACKED = 256 << 20  # of an archive, links and all
MAX_NAMES = 50_000
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class SubmissionError(Exception):
    """It cannot be graded; the message is for the student."""


def read(path, wanted):
    """{file: text} of those wanted that are there."""
    path = pathlib.Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            found = from_folder(path, wanted)
        elif not stat.S_ISREG(mode):
            raise SubmissionError("it is neither a folder nor a file")
        elif zipfile.is_zipfile(path):
            found = from_zip(path, wanted)
        else:
            found = from_tar(path, wanted)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, NotImplementedError, RuntimeError,
            ValueError) as error:
        raise SubmissionError(f"it cannot be read: {error}") from None
    if not found:
        raise SubmissionError(f"none of the files that the lab is about is in it: {', '.join(wanted)}")
    return {name: decode(name, content) for name, (_, content) in found.items()}


def decode(name, content):
    if len(content) > MAX_BYTES:
        raise SubmissionError(f"{name} is larger than {MAX_BYTES >> 10} KiB")
    if b"\0" in content:
        raise SubmissionError(f"{name} is no text: it contains a NUL")
    return content.decode("utf-8", errors="replace").replace("\r\n", "\n")


def asked_for(name, wanted):
    """(which of wanted a path is, how deep it lies), or (None, 0). Parts that lead upwards are nothing special here."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    for want in wanted:
        ends = want.split("/")
        if parts[-len(ends):] == ends and not any(part == ".git" or part == "__MACOSX" for part in parts):
            return want, len(parts) - len(ends)
    return None, 0


class Found(dict):
    """{file: (depth, content)}; the outermost wins, and two at one depth are an error."""

    def add(self, name, depth, read_it):
        if name in self and self[name][0] == depth:
            raise SubmissionError(f"{name} is in it more than once, and none lies further out: hand in one tree")
        if name not in self or depth < self[name][0]:
            self[name] = depth, read_it()


def from_folder(folder, wanted):
    found, names = Found(), 0
    for where, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        names += len(folders) + len(files)
        if names > MAX_NAMES:
            raise SubmissionError(f"it has more than {MAX_NAMES} files")
        for file in files:
            path = pathlib.Path(where, file)
            name, depth = asked_for(str(path.relative_to(folder)), wanted)
            if name and stat.S_ISREG(path.lstat().st_mode):
                found.add(name, depth, lambda path=path: read_file(path))
    return found


def read_file(path):
    """At most one byte too many; never through a link."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read(MAX_BYTES + 1)


def from_zip(path, wanted):
    found = Found()
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_NAMES:
            raise SubmissionError(f"it has more than {MAX_NAMES} files")
        for entry in entries:
            name, depth = asked_for(entry.filename, wanted)
            mode = entry.external_attr >> 16
            if name and not entry.is_dir() and (not stat.S_IFMT(mode) or stat.S_ISREG(mode)):
                found.add(name, depth, lambda entry=entry: read_member(archive, entry))
    return found


def read_member(archive, entry):
    with archive.open(entry) as file:
        return file.read(MAX_BYTES + 1)


class Metered(io.RawIOBase):
    """What is unpacked, until it is too much."""

    def __init__(self, file):
        super().__init__()
        self.file, self.left = file, MAX_UNPACKED

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.file.read(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            raise SubmissionError(f"it unpacks to more than {MAX_UNPACKED >> 20} MiB")
        buffer[:len(data)] = data
        return len(data)


def from_tar(path, wanted):
    with open(path, "rb") as file:
        head = file.read(6)
    opener = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), open)
    found, names = Found(), 0
    with opener(path, "rb") as unpacked:
        try:
            with tarfile.open(fileobj=io.BufferedReader(Metered(unpacked)), mode="r|") as archive:
                for entry in archive:
                    names += 1
                    if names > MAX_NAMES:
                        raise SubmissionError(f"it has more than {MAX_NAMES} files")
                    name, depth = asked_for(entry.name, wanted)
                    if name and entry.isreg():
                        found.add(name, depth, lambda entry=entry: archive.extractfile(entry).read(MAX_BYTES + 1))
        except tarfile.ReadError as error:
            if names:
                raise
            return single_file(path, wanted, error)
    return found


def single_file(path, wanted, error):
    """Not an archive: perhaps the one file itself."""
    if len(wanted) == 1 and path.suffix in (".c", ".h", ".toml"):
        return {wanted[0]: (0, read_file(path))}
    raise SubmissionError(f"it is no folder and no archive of a kind that is known (zip, tar, tar.gz, tar.bz2, tar.xz): {error}")
