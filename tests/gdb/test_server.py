"""make gdb-server: another front end connects, VS Code for one; and the machine ends when it is told to."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import stat
import subprocess

import pexpect
import pytest

import made
from machine import ELF, LIMIT, ROOT

SAFE = f"add-auto-load-safe-path {ELF.parent}"


@pytest.fixture
def server(tmp_path):
    """server(PORT=0, …): make gdb-server at a terminal, when it says that it is there; and what it said."""
    children = []

    def start(*words, **variables):
        child = pexpect.spawn("make", ["-s", "gdb-server", *words], env=made.variables_of(tmp_path, {"RUNDIR": tmp_path} | variables),
                              cwd=str(ROOT), timeout=LIMIT, encoding="utf-8", codec_errors="replace", dimensions=(50, 250))
        children.append(child)
        child.expect("kernel's console\r\n")
        return child, child.before.replace("\r", "")

    yield start
    for child in children:
        child.close(force=True)
    made.end_all(tmp_path)


def gdb(*commands, elf=ELF):
    words = [word for line in commands for word in ("-ex", line)]
    done = subprocess.run(["gdb", "-nx", "-q", "-batch", "-iex", SAFE, str(elf), *words], cwd=ROOT, timeout=2 * LIMIT, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def connecting(said):
    """The command that the server proposes, as words."""
    return shlex.split(re.search(r"^  (gdb .*)$", said, re.MULTILINE)[1])


def test_as_it_says(server, tmp_path):
    """The very line that it prints connects; the socket is for nobody else; `detach` lets the machine go on, `kill` ends it."""
    child, said = server()
    words = connecting(said)
    assert stat.S_IMODE(os.stat(tmp_path / "gdb").st_mode) & 0o077 == 0
    done = subprocess.run([*words, "-nx", "-batch", "-ex", "info registers rip", "-ex", "hbreak kernel_main", "-ex", "continue",
                           "-ex", "mm walk $rsp", "-ex", "detach"], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False,
                          stdin=subprocess.DEVNULL)
    assert "0xfff0" in done.stdout and "hit Breakpoint 1" in done.stdout and "4 levels, from CR3" in done.stdout, done.stdout + done.stderr
    child.expect("tessera> ")
    child.sendline("vmalloc 64K")  # this terminal is the console
    child.expect("16 pages")
    assert "vmalloc" in gdb(words[-1], "mm areas", "kill")
    child.expect("run: ended by the debugger")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0 and made.gone(tmp_path)


def test_by_a_port(server, tmp_path):
    child, said = server(PORT="0")
    assert re.search(r"connects to localhost:\d+", said), said
    assert "0xfff0" in gdb(connecting(said)[-1], "info registers rip", "detach")
    port = re.search(r"localhost:(\d+)", said)[1]
    taken = made.make("gdb-server", tmp_path / "second", PORT=port)
    assert taken.status == 2 and f"PORT={port}" in taken.text and "in use" in taken.text, taken.text
    child.send("\x01x")
    child.expect("run: ended by hand")
    child.expect(pexpect.EOF)
    assert made.gone(tmp_path)


@pytest.mark.parametrize("how", ["hangup", "interrupted"])
def test_it_ends_with_its_terminal(server, tmp_path, how):
    child, _ = server()
    if how == "hangup":
        child.close()
    else:
        [supervisor] = [pid for pid in made.processes("python", "tools/run") if f"RUNDIR={tmp_path}\0" in environment_of(pid)]
        os.kill(supervisor, signal.SIGTERM)
    assert made.gone(tmp_path)


def environment_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace") + "\0"
    except OSError:
        return ""


def test_without_a_terminal_it_waits(tmp_path):
    """As a task: stdin is empty, and that is no reason to end."""
    with subprocess.Popen(["make", "-s", "gdb-server"], env=made.variables_of(tmp_path, {}), cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said = "".join(process.stdout.readline() for _ in range(3))
        text = gdb(connecting(said)[-1], "hbreak cpu_sleep if $_thread == 1", "continue", "backtrace", "kill")
        assert " serial_read " in text and " monitor " in text, text  # at the prompt
        process.communicate(timeout=LIMIT)
        assert process.returncode == 0
    assert made.gone(tmp_path)


# What VS Code's C/C++ extension does with .vscode: it starts the task, waits for the words that end its beginning, and
# sends gdb these commands in this order (MIEngine, DebuggedProcess.GetInitializeCommands).

class Mi:
    """gdb as a front end has it."""

    def __init__(self, command, cwd):
        self.gdb = pexpect.spawn(command[0], [*command[1:], "--interpreter=mi", "-nx"], cwd=cwd, timeout=LIMIT, encoding="utf-8",
                                 codec_errors="replace", echo=False, dimensions=(50, 1000))
        self.gdb.expect(r"\(gdb\) \r\n")
        self.number, self.said = 0, ""

    def __call__(self, line, result="done"):
        """Its result record, which must be of this class (or these: a|b); what came before it is in said."""
        self.number += 1
        self.gdb.sendline(f"{self.number}{line}")
        self.gdb.expect(rf"(?m)^{self.number}\^([a-z]+)(.*)\r\n")
        self.said = self.gdb.before
        assert self.gdb.match[1] in result.split("|"), f"{line}: {self.gdb.match[0]}{self.said}"
        return self.gdb.match[2]

    def stopped(self):
        self.gdb.expect(r"(?m)^\*stopped,(.*)\r\n")
        return self.gdb.match[1]


def vscode(name, folder):
    """One of its files, with the workspace's folder put in."""
    text = (ROOT / ".vscode" / name).read_text(encoding="utf-8")
    return json.loads(text.replace("${workspaceFolder}", str(folder)))


@pytest.fixture
def workspace(tmp_path):
    """A folder of one's own: build/run is not the one of this tree."""
    for name in "Makefile tools sanitize linker.ld labs .vscode boot mm kernel arch include tests bench".split():
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "build").mkdir()
    for name in ("obj", "FLAGS", "SOURCES"):
        (tmp_path / "build" / name).symlink_to(ROOT / "build" / name)
    for name in ("tessera.elf", "tessera.elf-gdb.py"):
        shutil.copy2(ROOT / "build" / name, tmp_path / "build")
    yield tmp_path
    made.end_all(tmp_path)


def test_vscode_connects_stops_and_ends_the_machine(workspace):
    launch = vscode("launch.json", workspace)["configurations"][0]
    tasks = {task["label"]: task for task in vscode("tasks.json", workspace)["tasks"]}
    task = tasks[launch["preLaunchTask"]]
    matcher = task["problemMatcher"]["background"]
    env = {k: v for k, v in made.variables_of(workspace, {}).items() if k not in ("RUNDIR", "APPEND", "BOOT")}
    terminal = pexpect.spawn("sh", ["-c", task["command"]], cwd=str(workspace), env=env, timeout=2 * LIMIT, encoding="utf-8",
                             codec_errors="replace", dimensions=(50, 250))
    terminal.expect("(?m)" + matcher["endsPattern"])
    mi = Mi([launch["miDebuggerPath"], "-q"], str(workspace))
    mi("-gdb-set mi-async on")
    for command in launch["setupCommands"]:
        text = command["text"]
        mi(text if text.startswith("-") else f'-interpreter-exec console "{text}"')
    mi('-interpreter-exec console "set pagination off"')
    mi(f"-environment-cd {launch['cwd']}")
    mi(f"-file-exec-and-symbols {launch['program']}")
    mi("-break-insert main", "error")
    mi(f"-target-select remote {launch['miDebuggerServerAddress']}", "connected")
    assert 'addr="0x000000000000fff0"' in mi.said or 'addr="0x000000000000fff0"' in mi.stopped()
    assert launch["stopAtConnect"], "it would run on"
    assert 'file="mm/vmalloc.c"' in mi("-break-insert -f mm/vmalloc.c:vmalloc")
    mi("-exec-continue", "running")
    stopped = mi.stopped()
    assert 'reason="breakpoint-hit"' in stopped and 'func="vmalloc"' in stopped and 'fullname="' in stopped, stopped
    assert 'func="kernel_main"' in mi("-stack-list-frames --thread 1 0 1000")
    assert "CPU#1" in mi("-thread-info")
    mi('-interpreter-exec console "mm walk $rsp"')
    assert "4 levels, from CR3" in mi.said, mi.said
    assert 'value="65536"' in mi("-data-evaluate-expression bytes"), "the tour's first"
    mi("kill", "done|error")  # QEMU may be gone before it has answered
    terminal.expect("run: ended by the debugger")
    mi("-gdb-exit", "exit")
    terminal.expect(pexpect.EOF)
    assert made.gone(workspace)


def test_vscode_opens_a_core(workspace):
    launch = vscode("launch.json", workspace)["configurations"][1]
    env = made.variables_of(workspace / "build/run", {"CORE": "1", "APPEND": "exit", "MEM": "16M"})
    subprocess.run([ROOT / "tools/run"], cwd=workspace, env=env, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, timeout=LIMIT)
    mi = Mi([launch["miDebuggerPath"], "-q"], str(workspace))
    for command in launch["setupCommands"]:
        text = command["text"]
        mi(text if text.startswith("-") else f'-interpreter-exec console "{text}"')
    mi(f"-file-exec-and-symbols {launch['program']}")
    mi(f"-target-select core {launch['coreDumpPath']}", "connected")
    assert 'func="kernel_main"' in mi("-stack-list-frames --thread 1 0 1000")
    mi('-interpreter-exec console "mm walk $rsp"')
    assert "4 levels, from CR3" in mi.said, mi.said
    mi("-gdb-exit", "exit")
    (workspace / "build/run/core").unlink()
