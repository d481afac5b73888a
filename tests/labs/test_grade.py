"""make grade: whatever one test does costs only that test; the same points each time; what is told, and to whom."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor

import confine
import grading
import lab as labs
import machine
import outside
import pytest
import report

HERE = pathlib.Path(__file__).resolve().parent
PLANTED = re.findall(r"^TEST\((\w+), (\w+)\)", (HERE / "planted_test.c").read_text(encoding="utf-8"), re.MULTILINE)
TOML = """
number = 9
name = "Planted"
starter = 10
hidden = ["planted/e_loops"]
[write]
"mm/vmarea.c" = ["vmarea_free"]
[[hint]]
id = "seven"
test = "planted/b*"
says = "seven == 8 was 0x7 and 0x8"
text = "seven is not eight"
[points]
""" + "".join(f'"{group}/{name}" = {20 if name == "a_passes" else 4}\n' for group, name in PLANTED)

# A test: what its message must say. A test that is not here passes.
SAYS = {
    "b_expects": r"planted_test\.c:\d+: seven == 8 was 0x7 and 0x8$",
    "c_panics": r"^PANIC planted: 7\n  and more of it$",
    "d_panics_elsewhere": r"^PANIC on another CPU$",
    "e_loops": r"^it did not end within 250 million instructions\n  CPU 0 was at spin_here\+0x\w+ < (.*)run_test\+0x(.|\n)*  CPU 3 was at cpu_sleep",
    "f_loops_with_interrupts_masked": r"250 million instructions\n  CPU 0 was at spin_here\+0x",
    "g_loops_elsewhere": r"250 million instructions\n  CPU 0 was at .* < run_test\+(.|\n)*  CPU 1 was at spin_here\+0x\w+ <",
    "h_sleeps_for_ever": r"250 million instructions\n  CPU 0 was at test_planted_h_sleeps_for_ever\+0x2 <",
    "i_triple_faults": r"^the machine was reset: a triple fault",
    "j_switches_off": r"^the machine was switched off in the middle of it$",
    "k_overruns_the_stack": r"^PANIC #PF page fault|^PANIC ",
    "l_leaks": r"leak: \d+ frames and \d+ objects held before, \d+ and \d+ after",
    "m_reads_null": r"^PANIC #PF page fault, error code 0x0, at test_planted_m_reads_null",
    "n_floods": r"^it wrote 1 MiB or more to a serial port",
    "o_skips": r"^it was skipped: for no reason$",
    "p_does_not_panic": r"a panic that says 'not here' was expected, but:\nit did not panic",
    "t_spoils": r"false was false",
    "s_races": r"order == 0 was 0x\w+ and 0x0",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "lab.toml"
    path.write_text(TOML)
    return labs.Lab(path)


@pytest.fixture(scope="module")
def tree(built, tmp_path_factory):
    """A tree with tests that go wrong, built."""
    out = tmp_path_factory.mktemp("planted") / "tree"
    subprocess.run(["cp", "-a", built, out], check=True)
    shutil.copy(HERE / "planted_test.c", out / "tests/mm")
    insns = out / grading.INSNS
    known = json.loads(insns.read_text())
    insns.write_text(json.dumps(known | {f"{group}/{name}": 100 for group, name in PLANTED}))
    grading.build(out, grading.KERNEL)
    return out


@pytest.fixture(scope="module")
def results(tree, lab):
    return grading.grade(tree, lab)


# A failure costs only itself

@pytest.mark.parametrize("name", [name for _, name in PLANTED])
@pytest.mark.xdist_group("planted")
def test_a_failure_costs_only_itself(results, name):
    test = results[f"planted/{name}"]
    if name in SAYS:
        assert not test.passed and test.points == 0 and re.search(SAYS[name], test.message), test.message
    else:
        assert test.passed and test.points == test.max, test.message


@pytest.mark.xdist_group("planted")
def test_what_is_seen_from_outside_is_told_though_all_passed(results, tree, lab):
    alone = grading.run_kernel(tree, lab, ["planted/a_passes", "planted/r_switches_protection_off"])
    assert [test.marks for test in alone.values()] == [[], ["write protection (CR0.WP) is switched off"]]
    assert all(test.passed for test in alone.values())
    assert not results["planted/a_passes"].marks


@pytest.mark.xdist_group("planted")
def test_what_a_test_broke_costs_no_other(tree):
    """Nor what one that passed has left behind."""
    grader = grading.Grader(tree, ["planted/a_passes", "planted/t_spoils", "planted/u_was_not_spoiled"])
    grader.run(1)
    assert [grader.results[test].result for test in grader.tests] == ["pass", "fail", "pass"]


@pytest.mark.xdist_group("planted")
def test_the_same_points_whatever_runs_beside(results, tree, lab):
    """With one job, and on one CPU, beside other work: to the instruction."""
    def plain(results):
        return [(test.name, test.passed, test.message, test.insns) for test in results.values()]

    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(3)]
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        again = grading.run_kernel(tree, lab, list(lab.points))
    finally:
        os.sched_setaffinity(0, before)
        for process in busy:
            process.kill()
            process.wait()
    assert plain(again) == plain(results)


@pytest.mark.xdist_group("planted")
def test_a_kernel_that_does_not_boot_says_why_in_all_tests(tree, lab, tmp_path):
    """And is started once for each job, not once for each test."""
    subprocess.run(["cp", "-a", tree, tmp_path / "tree"], check=True)
    path, boots = tmp_path / "tree/mm/init.c", []
    text = path.read_text()
    for change, says in (('panic("planted in the boot");', "PANIC planted in the boot"), ("for (;;)\n\t\t;", "did not end within 500 million")):
        path.write_text(re.sub(r"(void mm_init\([^{]*\n\{\n)((?:\t[^\n]*;\n)*?)(\n|\t\w+\()", lambda m: f"{m[1]}{m[2]}\n\t{change}\n{m[3]}", text, 1))
        boot = grading.Grader.boot
        try:
            grading.Grader.boot = lambda self, test, boot=boot: boots.append(test) or boot(self, test)
            found = grading.grade(tmp_path / "tree", lab, jobs=2)
        finally:
            grading.Grader.boot = boot
        assert all(test.message.startswith("the kernel does not get as far as its tests:") and says in test.message
                   for test in found.values()), found["planted/a_passes"]
    assert len(boots) <= 2 * 2


@pytest.mark.xdist_group("planted")
def test_what_does_not_compile_says_what_the_compiler_says(tree, lab, tmp_path):
    subprocess.run(["cp", "-a", tree, tmp_path / "tree"], check=True)
    with open(tmp_path / "tree/mm/vmarea.c", "a", encoding="utf-8") as file:
        file.write("int x = nonsense;\n")
    found = grading.grade(tmp_path / "tree", lab)
    assert not any(test.passed for test in found.values())
    assert "it does not compile:\nmm/vmarea.c:" in found["planted/a_passes"].message
    assert "'nonsense' undeclared" in found["planted/a_passes"].message.replace("‘", "'").replace("’", "'")


@pytest.mark.xdist_group("planted")
def test_points_for_a_test_that_is_not_there_are_an_error(tree, lab):
    with pytest.raises(grading.GradeError, match="planted/nobody"):
        grading.Grader(tree, ["planted/nobody"])


@pytest.mark.xdist_group("planted")
def test_a_qemu_that_does_not_start_grades_nothing(tree, lab, monkeypatch):
    """Rather than to give no points."""
    command = machine.qemu_command
    monkeypatch.setattr(machine, "qemu_command", lambda *args: command(*args) + ["-device", "nonsense"])
    with pytest.raises(grading.GradeError, match="'nonsense' is not a valid device"):
        grading.run_kernel(tree, lab, ["planted/a_passes"])


@pytest.mark.xdist_group("planted")
def test_nothing_is_left_running_when_the_grader_is_killed(tree, lab, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(HERE.parent.parent / 'tools/labs')!r}); import grading, lab, machine\n" \
           f"machine.CPU_SECONDS = 1000, 0\n" \
           f"grading.run_kernel({str(tree)!r}, lab.Lab({str(lab.path)!r}), ['planted/e_loops'])\n"
    with subprocess.Popen([sys.executable, "-B", "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}) as child:
        try:
            while not (qemu := running_in(tmp_path)):
                assert child.poll() is None
                time.sleep(0.01)
        finally:
            child.kill()
    deadline = time.monotonic() + 30
    while any(pathlib.Path(f"/proc/{pid}").exists() for pid in qemu) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not running_in(tmp_path)


def running_in(folder):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            pass
    return found


# What is told

@pytest.mark.xdist_group("planted")
def test_a_failure_is_explained(results, tree, lab):
    said = report.failure(results["planted/b_expects"], tree, "", lambda kind, words: words)
    assert re.fullmatch(r"""FAIL  planted/b_expects  0 of 4 points
  did       tests/mm/planted_test.c, b_expects
            \d+       int seven = 7;
            \d+   ?
            \d+ >     EXPECT_EQ\(seven, 8\);
  expected  seven == 8
  got       seven is 7
  hint      seven is not eight
  again     make grade TEST=planted/b_expects
  in gdb    make gdb BREAK=test_planted_b_expects .*""", said), said
    null = report.failure(results["planted/m_reads_null"], tree, "", lambda kind, words: words)
    assert "expected  no panic" in null and "a NULL pointer, plus a member's offset" in null and "EXCEPTION 14" in null
    leak = report.failure(results["planted/l_leaks"], tree, "", lambda kind, words: words)
    assert re.search(r"expected  \d+ frames and \d+ objects held, as before the test\n  got       \d+ and \d+", leak), leak


@pytest.mark.xdist_group("planted")
def test_programs_read_the_same(results, tree, lab):
    points = sum(test.points for test in results.values())
    assert points == 20 + 4 + 4 + 4
    as_json = json.loads(json.dumps(report.as_json(results, lab, 1.0)))
    assert as_json["points"] == points and as_json["max"] == 100
    assert {t["name"]: t["hint"] for t in as_json["tests"] if t["hint"]} == {"planted/b_expects": "seven"}
    suite = xml.etree.ElementTree.fromstring(report.junit(results, lab, 1.0).encode())[0]
    assert (suite.get("tests"), suite.get("failures")) == (str(len(results)), str(len(SAYS)))
    assert sum(case.find("failure") is not None for case in suite) == len(SAYS)
    scope = json.loads(json.dumps(report.gradescope(results, tree, lab, 1.0)))
    assert scope["score"] == points == sum(t["score"] for t in scope["tests"])
    assert [t["name"] for t in scope["tests"] if t["visibility"] == "hidden"] == ["planted/e_loops", report.STAFF]
    assert all(t["status"] in ("passed", "failed") for t in scope["tests"] if t["name"] != report.STAFF)


@pytest.mark.parametrize("death, stop", [
    ("PANIC BUG: x\n  y", "panic"), ("it did not end within 500 million instructions\n  CPU 0 was at adopt+0x1 < mm_init+0x2", "adopt"),
    ("the machine was reset: a triple fault, an exception that could not even be reported", "mm_init")])
def test_of_a_boot_that_died_the_command_boots_and_names_no_test(tmp_path, death, stop):
    test = grading.Test(False, f"{report.NO_TESTS} {death}", None, None, "planted/x", 0, 5, False, 0, "", [])
    told = report.failure(test, tmp_path, "", lambda kind, words: words)
    assert "  again     make run BOOT=direct CHECK=1 CPUS=4 MEM=64M APPEND=exit\n" in told
    assert told.endswith(f"  in gdb    make gdb BREAK={stop} BOOT=direct CHECK=1 CPUS=4 MEM=64M") and "TEST=" not in told


@pytest.mark.parametrize("message, stop", [
    ("a.c:7: x == 1 was 0x2 and 0x1", "test_planted_x"), ("PANIC BUG: x\n  at mm/page_alloc.c:102, in list_add()", "panic"),
    ("drill_test.c:7: x was false\n  so it is before all tests: mend that first, or none of them means anything", "drill"),
    ("it did not end within 250 million instructions\n  CPU 0 was at put_block+0x1 < free_pages+0x2 < test_planted_x+0x7", "test_planted_x"),
    ("it did not end within 250 million instructions\n  CPU 0 was at put_block+0x1 < check_before+0x2 < panic_caught+0x7", "put_block")])
def test_gdb_is_told_to_stop_where_it_comes_by(tmp_path, message, stop):
    """A panic may come before the test is called, and where it comes it is seen who called."""
    test = grading.Test(False, message, None, None, "planted/x", 0, 5, False, 0, "", [])
    assert f"make gdb BREAK={stop} " in report.failure(test, tmp_path, "", lambda kind, words: words)


def test_where_a_function_is_missing_gdb_has_nothing_to_show(tmp_path):
    for message, shown in (("lab 1: adopt is yours to write\n  mm/page_alloc.c:332; LAB.md is the handout", False), ("PANIC x", True)):
        test = grading.Test(False, message, None, None, "planted/x", 0, 5, False, 0, "", [])
        told = report.failure(test, tmp_path, "", lambda kind, words: words)
        assert "  again     make grade TEST=planted/x" in told and ("in gdb" in told) is shown


def test_what_fails_for_one_reason_is_told_once(tmp_path, lab):
    """The same endless loop is caught at another place each time; lab 9's function is vmarea_free()."""
    loop = "it did not end within {} million instructions\n  CPU 0 was at {} < vmarea_free+0x{} < {}+0x7\n" \
           "  CPU 1 was at cpu_sleep+0x3 < idle+0x2\n  CPU 2 was at cpu_sleep+0x3"
    messages = {"planted/a": loop.format(250, "rb_next+0x24", 10, "vfree"), "planted/b": loop.format(500, "vmarea_free+0x26", 12, "vunmap"),
                "planted/c": loop.format(250, "elsewhere+0x1", 1, "x").replace("vmarea_free", "nobody"),
                "planted/d": "PANIC vfree: 0xffffc90000001000 is no area, 7", "planted/e": "PANIC vfree: 0xffffc90000009000 is no area, 12",
                "planted/f": "PANIC vfree: 0xffffc90000001000 is an area"}
    tests = {name: grading.Test(False, message, None, None, name, 0, 5, False, 0, "", []) for name, message in messages.items()}
    told = report.text(tests, tmp_path, lab)
    assert re.findall(r"^FAIL  (?:for the same reason: )?(\S+)", told, re.MULTILINE) == [f"planted/{test}" for test in "abcdef"]
    assert told.count("for the same reason: planted/b (5)") == told.count("for the same reason: planted/e (5)") == 1
    assert told.count("for the same reason") == 2
    assert "CPU 0 was at rb_next+0x24" in told and "CPUs 1, 2 slept" in told and "cpu_sleep" not in told


def test_where_a_function_has_no_frame_its_caller_is_told_all_the_same():
    """A function f at 0x1000, called by g, called by h. In f: push, mov, nop, pop, ret."""
    code, memory = bytes.fromhex("554889e5905dc3"), {0xFFFF800000000100: 0xFFFF800000000200, 0xFFFF800000000108: 0x3007}

    def hmp(line, _cpu):
        command, *at = line.split()
        if command == "info":
            return f"CPU#0\nRIP={pc:016x} RSP={sp:016x} RBP={bp:016x}\n"
        at = int(at[0], 16)
        return f"{at:x}: {code[at - 0x1000]:#04x}\n" if command == "x/1bx" else f"{at:x}:" + "".join(
            f" 0x{memory.get(at + 8 * n, 0):016x}" for n in range(int(command[2])))

    def place(va):
        return f"{ {1: 'f', 2: 'g', 3: 'h'}[va >> 12] }+{va & 0xFFF:#x}"

    g, stack = 0xFFFF800000000100, 0xFFFF800000000050
    memory |= {stack: 0x2007, stack - 8: g}
    for pc, sp, bp in ((0x1000, stack, g), (0x1001, stack - 8, g), (0x1004, stack - 8, stack - 8), (0x1006, stack, g)):
        assert machine.load_run().tessera.stuck.lines(hmp, place) == [("CPU 0", f"f+{pc & 0xFFF:#x} < g+0x6 < h+0x6")]


def test_what_does_not_compile_is_said_once(tmp_path, lab):
    errors = "\n".join(f"mm/vmarea.c:{n}: error: 'x' undeclared" for n in range(20))
    told = report.text(grading.fail_all(lab, list(lab.points), f"it does not compile:\n{errors}"), tmp_path, lab)
    assert told.startswith(f"It does not compile:\n{errors}\n\n") and told.count("vmarea.c:7:") == 1
    assert "lab 9, Planted: 0 of 100 points" in told and "again" not in told and "gdb" not in told


def grade_module():
    loader = importlib.machinery.SourceFileLoader("tools_grade", str(HERE.parent.parent / "tools/grade"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tools_grade", loader))
    loader.exec_module(module)
    return module


def test_who_waits_is_told_how_far_it_is(lab, capsys):
    grade, said = grade_module(), ""
    host, kernel = (grade.Teller(lab, time.monotonic(), where) for where in ("on this machine", "in QEMU"))
    kernel.passed.add("planted/a_passes")
    with grade.pulse([host, kernel], 20, time.monotonic(), 0.01):
        while not said:
            said = capsys.readouterr().out
    assert re.match(r"still running \(\d+ s\); tests that have ended: 0 of 20 on this machine, 1 of 20 in QEMU\n", said)


def test_what_fails_only_here_is_named(lab, capsys):
    grade = grade_module()
    teller = grade.Teller(lab, time.monotonic(), "on this machine")
    for name in ("planted/a_passes", "planted/b_expects", "planted/c_panics"):
        teller(name, machine.Result("fail", "x", 0))
    teller.sum({}, ["planted/b_expects"])
    assert "failed on this machine only: planted/a_passes, planted/c_panics\n" in capsys.readouterr().out


def test_of_a_long_audit_the_first_lines_are_told(tmp_path):
    message = "\n".join(f"0x{n}000: entry 0x163 belongs to no area" for n in range(1000))
    test = grading.Test(False, message, None, None, "planted/x", 0, 5, False, 0, "", [])
    told = report.failure(test, tmp_path, "", lambda kind, words: words)
    assert len(told.splitlines()) < 20 and "0x11000: " in told and "0x12000: " not in told
    assert "... and 988 lines more" in told


def test_expected_and_got():
    for message, expected, got in (
            ("a.c:7: a == b was 0x5 and 0x6", "a == b", "a is 5, b is 6"),
            ("a.c:7: n == 12 was 0x10 and 0xc", "n == 12", "n is 16 (0x10)"),
            ("a.c:7: p == q was 0xffffffffffffffff and 0xffffc90000000000", "p == q", "p is -1 (0xffffffffffffffff), q is 0xffffc90000000000"),
            ("a.c:7: ok(p) was false", "ok(p)", "that is false"),
            ("PANIC x\n  y", "no panic", "PANIC x\n  y"),
            ("mm/ is unsound", "", "mm/ is unsound")):
        assert report.expected_and_got(message) == (expected, got)


def test_what_tests_print_for_a_table_is_one_table(results):
    said = ["ok 1 a/b\n# | of     yours\n# | one    5   \n", "# | of     yours\n# | two    7\n# | one    6\n# no row\n", ""]
    tests = {str(n): test._replace(said=text) for n, (test, text) in enumerate(zip(results.values(), said))}
    assert report.table(tests) == "\nof     yours\none    5\ntwo    7\n"
    assert report.table({}) == ""


@pytest.mark.parametrize("terminal, environ, coloured", [
    (True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"NO_COLOR": ""}, True), (True, {"TERM": "dumb"}, False)])
def test_colour_is_for_terminals(terminal, environ, coloured, monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = type("Stream", (), {"isatty": lambda self: terminal})()
    assert (report.colours(stream)("bad", "x") == "\033[31mx\033[m") == coloured
    assert report.colours(stream)("bad", "x").count("x") == 1


@pytest.mark.xdist_group("planted")
def test_make_grade_says_it_all(tree, tmp_path):
    """The first failure at once, the sum last; files for programs; the exit status."""
    (tree / "labs/9-planted").mkdir()
    (tree / "labs/9-planted/lab.toml").write_text(TOML)
    files = {name: str(tmp_path / name) for name in ("JSON", "JUNIT", "GRADESCOPE")}

    def make(*words):
        return subprocess.run(["make", "-s", "grade", "LAB=9", "HOST=0", *words], cwd=tree, env=grading.environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    done = make("TEST=planted/a,planted/b,planted/q", *(f"{name}={path}" for name, path in files.items()))
    said = done.stdout
    assert done.returncode == 2, said
    first, again = said.index("planted/b_expects failed ("), said.index("again     make grade LAB=9 TEST=planted/b_expects\n")
    assert first < again < said.index("lab 9, Planted: 24 of 28 points, 2 of 3 tests (")
    assert "\033" not in said
    assert json.loads((tmp_path / "JSON").read_text())["points"] == 24
    assert json.loads((tmp_path / "GRADESCOPE").read_text())["score"] == 24
    assert xml.etree.ElementTree.parse(tmp_path / "JUNIT").getroot()[0].get("failures") == "1"
    assert make("TEST=planted/a,planted/q").returncode == 0
    died = make("TEST=planted/a,planted/i").stdout
    assert died.index("in QEMU: planted/i_triple_faults failed (") < died.index("in QEMU: 1 passed, 1 failed (")
    assert "TEST=nobody: no test of lab 9, Planted is called so; they are\n  planted/a_passes" in make("TEST=nobody").stdout
    assert "JSON=/: cannot be written" in make("TEST=planted/a", "JSON=/").stdout


@pytest.mark.xdist_group("planted")
def test_no_more_tests_fail_than_there_are(tree):
    """What was unsound before the first one fails the run, but is no test."""
    for test, failed in ("b_expects", 1), ("a_passes", 1):
        done = subprocess.run(["tools/run"], cwd=tree, text=True, input=f"spoil\ntest planted/{test}\n", capture_output=True, check=False,
                              env=grading.environment() | {"BOOT": "direct", "KERNEL": grading.KERNEL, "RUNDIR": "build/run"})
        assert "# mm/ is unsound before any test" in done.stdout and f"run: failed: 1 tests, {failed} failed (" in done.stdout, done.stdout


@pytest.mark.xdist_group("planted")
def test_of_many_faults_a_few_are_told(results):
    said = results["planted/t_spoils"].said
    assert 1 < said.count(" is unsound\n") <= 8 and re.search(r"^# and [1-9]\d* more faults$", said, re.MULTILINE), said


# The host

def test_on_the_host_a_test_that_dies_costs_only_itself(tmp_path):
    script = tmp_path / "build/host-tests"
    script.parent.mkdir()
    script.write_text("""#!/bin/sh
case $1 in
*,*) printf '1..3\\nok 1 a/one\\n# going\\n==1==ERROR: AddressSanitizer: heap-use-after-free\\n'; exit 1 ;;
a/two) printf '1..1\\n# going\\n==1==ERROR: AddressSanitizer: heap-use-after-free\\n'; exit 1 ;;
a/three) printf '1..1\\n# x.c:7: wrong\\nnot ok 1 a/three\\n'; exit 1 ;;
a/four) printf '1..0\\n' ;;
esac
""")
    script.chmod(0o755)
    heard = []
    found = grading.run_host(tmp_path, ["a/one", "a/two", "a/three", "a/four"], lambda name, result: heard.append(name))
    assert {name: result.result for name, result in found.items()} == {"a/one": "pass", "a/two": "fail", "a/three": "fail"}
    assert "heap-use-after-free" in found["a/two"].why and found["a/three"].why == "x.c:7: wrong"
    assert heard == ["a/one", "a/two", "a/three"]


def test_on_the_host_ram_is_no_file_too_large():
    machine = (HERE.parent / "host/main.c").read_text(encoding="utf-8")
    ram = re.search(r"struct sim_ram ram\[\] = \{(.*?)\};", machine, re.DOTALL)[1]
    assert 2 * max(int(word, 16) for word in re.findall(r"0x[0-9a-f]+", ram)) <= grading.HOST_LIMITS.file


def test_on_the_host_a_stack_that_was_used_up_is_called_so(tmp_path, lab):
    """The sanitizer has no stack left to say it on."""
    script = tmp_path / "build/host-tests"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho 1..1\nkill -SEGV $$\n")
    script.chmod(0o755)
    found = grading.run_host(tmp_path, ["a/one"])
    assert found["a/one"].why == "the program was killed by SIGSEGV: its stack was used up, by deep recursion"
    assert lab.hint("a/one", found["a/one"].why).id == "recursion"
    script.write_text("#!/bin/sh\nexit 7\n")
    assert grading.run_host(tmp_path, ["a/one"])["a/one"].why == "the program ended with status 7"


def test_on_the_host_what_never_ends_is_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "HOST_LIMITS", confine.Limits(cpu=1, wall=60, file=1 << 20))
    script = tmp_path / "build/host-tests"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho run >>runs\nprintf '1..3\\nok 1 a/one\\n'\nwhile :; do :; done\n")
    script.chmod(0o755)
    heard = []
    found = grading.run_host(tmp_path, ["a/one", "a/two", "a/three"], lambda name, result: heard.append(name))
    assert (tmp_path / "runs").read_text() == "run\n" and heard == ["a/one", "a/two", "a/three"]
    assert [result.result for result in found.values()] == ["pass", "fail", "fail"]
    assert "it did not end within 1 seconds of CPU time" in found["a/two"].why


def test_ctrl_c_ends_it_with_a_word(built, tmp_path):
    """While it waits for make, which here never ends."""
    make = tmp_path / "make"
    make.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 1000\n")
    make.chmod(0o755)
    environ = grading.environment() | {"LAB": "1", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-B", HERE.parent.parent / "tools/grade"], env=environ, cwd=built, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as grade:
        while not (tmp_path / "pid").exists() and grade.poll() is None:
            time.sleep(0.02)
        grade.send_signal(signal.SIGINT)
        said = grade.communicate()[0]
    assert grade.returncode == 130 and said == "grade: stopped; nothing was graded\n"
    assert not pathlib.Path("/proc", (tmp_path / "pid").read_text().strip(), "cmdline").exists()


def test_when_all_is_to_end_what_runs_in_other_threads_does(monkeypatch):
    monkeypatch.setattr(confine, "stopped", threading.Event())
    with ThreadPoolExecutor(1) as pool:
        lines = []
        running = pool.submit(confine.run, ["sh", "-c", "echo begun; sleep 1000"], "/", confine.Limits(9, 900, 1 << 20), None,
                              lambda line: (lines.append(line), confine.stopped.set()))
        assert running.result(300).why == "did not end within 900 seconds" and lines == ["begun"]


# The books

def test_limits_leave_room_and_are_the_watchdogs():
    assert grading.allowed(0) == 2 and grading.allowed(62_000_000) == 2 and grading.allowed(63_000_000) == 4
    assert grading.allowed(10**12) == 30
    for seconds in range(2, 31, 2):
        assert 30 - 2 * machine.LIMITS.index(seconds) == seconds  # what the ib700 makes of it


def test_the_books_are_not_old(built):
    """Of all tests with points that are not a lab's own: labs/support/insns.json is right within a half."""
    tests = set(machine.Elf(built / grading.KERNEL).tests())
    points = tests.intersection(test for lab in labs.labs() for test in lab.points)
    known, grader = grading.known_insns(built), grading.Grader(built, sorted(points))
    grader.run(grading.cpus_here())
    wrong = {test: (result.insns, known.get(test)) for test, result in grader.results.items()
             if not known.get(test, 0) / 2 < result.insns < known.get(test, 0) * 2 + 1000}
    assert not wrong, f"make labs-count: {wrong}"
    assert all(result.result == "pass" for result in grader.results.values())


def test_from_outside_a_sound_machine_is_sound_and_a_writable_alias_is_seen():
    """Tables made by hand: 64 MiB, the direct map in one large page each 2 MiB but where the kernel lies."""
    ram = bytearray(64 << 20)
    code = b"\xcc" * 4096
    elf = type("Elf", (), {"constant": lambda self: [(0x100000, code)]})()

    def entry(table, index, value):
        ram[table + 8 * index:table + 8 * index + 8] = value.to_bytes(8, "little")

    entry(0x1000, 273, 0x2003)
    entry(0x2000, 0, 0x3003)
    entry(0x3000, 1, 0x200083 | 1 << 63)
    entry(0x1000, 511, 0x4003)
    entry(0x4000, 510, 0x5003)
    entry(0x5000, 0, 0x6003)
    entry(0x6000, 256, 0x100001)
    registers = "CR0=80010011 CR2=0 CR3=0000000000001000 CR4=000000a0\nEFER=0000000000000d00"
    assert outside.faults(elf, ram, registers) == []
    assert outside.faults(elf, ram, registers.replace("80010011", "80000011")) == ["write protection (CR0.WP) is switched off"]
    entry(0x3000, 0, 0x83 | 1 << 63)
    assert "the kernel's code or constants at 0x100000 can be written at 0xffff888000000000" in outside.faults(elf, ram, registers)
    entry(0x3000, 0, 0)
    entry(0x6000, 257, 0x200003)
    assert outside.faults(elf, ram, registers) == ["0xffffffff80101000 is mapped rwx"]
    entry(0x6000, 257, 0x3003 | 1 << 63)
    assert outside.faults(elf, ram, registers) == ["the page table at 0x3000 can be written at 0xffffffff80101000, outside of the direct map"]


@pytest.mark.long
@pytest.mark.xdist_group("planted")
def test_twenty_times_the_same_points(tree, lab, results):
    """Idle, on one CPU, and with every CPU loaded several times over."""
    hogs = ["stress-ng", "--cpu", "0", "--vm", "2", "--vm-bytes", "10%", "--hdd", "1", "--timer", "1", "-t", "0"]
    plain = {name: (test.passed, test.message, test.insns) for name, test in results.items()}
    before = os.sched_getaffinity(0)
    for turn in range(20):
        load = None
        try:
            if turn % 3 == 1:
                os.sched_setaffinity(0, {min(before)})
            if turn % 3 == 2 and shutil.which("stress-ng"):
                load = subprocess.Popen(hogs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            again = grading.run_kernel(tree, lab, list(lab.points))
        finally:
            os.sched_setaffinity(0, before)
            if load:
                os.killpg(load.pid, signal.SIGTERM)
                load.wait()
        assert {name: (test.passed, test.message, test.insns) for name, test in again.items()} == plain, f"turn {turn}"
