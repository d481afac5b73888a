"""A kernel with holes: it boots to a prompt, and a function that nobody wrote ends only what called it."""

import os
import re
import subprocess

import csource
import grading
import lab as labs
import machine
import pytest
import report


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A lab's tree that boots: put_block(), which is called with a lock held, and vmap() are missing."""
    out = tmp_path_factory.mktemp("holes") / "tree"
    lab = labs.lab_by_number("1")
    texts = labs.sources(lab)
    texts["mm/vmap.c"] = (labs.TREE / "mm/vmap.c").read_text(encoding="utf-8")
    for file, name in (("mm/page_alloc.c", "put_block"), ("mm/vmap.c", "vmap")):
        texts[file] = csource.with_body(texts[file], name, lambda signature, name=name: labs.stub_body(lab, signature, name))
    labs.write_tree(lab, out, texts)
    subprocess.run(["make", "-s", "-C", out, "-j4", "build/tessera-check.elf"], check=True, stdout=subprocess.DEVNULL)
    return out


def test_each_function_of_the_lab_can_be_in_a_backtrace(tree):
    names = {name for _, _, name in machine.Elf(tree / grading.KERNEL).functions}
    assert {"adopt", "take_block", "page_head", "list_add", "refill"} <= names


def run(tree, lines="", **variables):
    environ = os.environ | {"BOOT": "direct", "KERNEL": "build/tessera-check.elf", "APPEND": ""} | variables
    done = subprocess.run(["tools/run"], cwd=tree, env=environ, input=lines, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_the_prompt_lists_what_is_missing(tree):
    status, said = run(tree)
    put, vmap = said.index("  put_block            mm/page_alloc.c:"), said.index("  vmap                 mm/vmap.c:")
    assert status == 0 and said.index("Lab 1, Frames. Yours to write:") < put < vmap < said.index("tessera> ")


def test_free_memory_begins_at_the_same_place_however_large_the_kernel_is(tree):
    """What a mistake destroys, and so which tests are lost, must not hang on that."""
    symbols = machine.Elf(tree / "build/tessera-check.elf").symbols
    assert symbols["__image_end"] == symbols["IMAGE_BASE"] + symbols["FREE_FROM"]
    assert symbols["__image_end"] - symbols["__data_end"] > 256 << 10, "little room is left: a larger FREE_FROM in labs/support/lab.mk"
    assert re.search(rf"^{symbols['FREE_FROM']:#018x} .* usable$", run(tree, "mem\n")[1].replace("\r", ""), re.MULTILINE)


def test_a_command_that_meets_a_hole_ends_and_the_prompt_lives(tree):
    _, said = run(tree, "buddy\nbuddy\nkmalloc 100\nlab\n")
    assert said.count("Stopped: lab 1: put_block is yours to write\n  mm/page_alloc.c:") == 2  # and its lock was let go of
    assert "physical 0x" in said[said.index("tessera> kmalloc"):]
    assert "vmap.c:" in said[said.index("tessera> lab"):]


def test_a_word_that_meets_a_hole_fails_and_the_next_is_done(tree):
    status, said = run(tree, APPEND="test=family/vmap_of_frames test=words/defaults exit")
    assert status == 1 and "ok 1 words/defaults" in said


def test_under_test_a_hole_fails_its_tests_and_the_prompt_lives(tree):
    _, said = run(tree, "test memmap/\nkmalloc 100\n")
    tests = said[said.index("tessera> test"):said.index("tessera> kmalloc")]
    assert tests.count("\nnot ok ") == int(tests.split("1..")[1].split()[0])  # the runner itself needs it, before each
    assert "lab 1: put_block is yours to write\n#   mm/page_alloc.c:" in tests
    assert "physical 0x" in said[said.index("tessera> kmalloc"):]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Its boot stops at alloc_pages_bulk(), when mm/ is nearly up."""
    out = tmp_path_factory.mktemp("stopped") / "tree"
    lab = labs.lab_by_number("1")
    texts, file = labs.sources(lab), "mm/page_alloc.c"
    texts[file] = csource.with_body(texts[file], "alloc_pages_bulk", lambda signature: labs.stub_body(lab, signature, "alloc_pages_bulk"))
    plant = '\nCOMMAND(mistake, "", "for a test", panic("planted %u", 7));\n' \
            'COMMAND(spoil, "", "for a test", for (int i = 0; i < 40; i++) alloc_pages(GFP_KERNEL, 0)->state = PG_TAIL);\n'
    plant += 'static noinline void culprit(void) { panic("planted, and %u", 8); }\n' \
             'static noinline void caller(void) { culprit(); asm volatile(""); }\n' \
             'static void provoked(void *unused) { (void)unused; panic("on purpose"); }\n' \
             'TEST(planted, panics) { EXPECT_PANIC(provoked, NULL, "on purpose"); caller(); }\n' \
             'TEST(planted, reads_nothing) { EXPECT(*(volatile char *)NULL == 0); }\n'
    texts["tests/mm/family_test.c"] = (labs.TREE / "tests/mm/family_test.c").read_text(encoding="utf-8") + plant
    labs.write_tree(lab, out, texts)
    subprocess.run(["make", "-s", "-C", out, "-j4", "build/tessera-check.elf"], check=True, stdout=subprocess.DEVNULL)
    return out


def test_what_a_stopped_boot_left_open_is_no_tests_failure(stopped):
    status, said = run(stopped, APPEND="test=page_alloc/orders")
    assert "left books open, in 2 places; the first:\n#   areas with addresses: 1 counted, 2 recorded" in said
    assert "\nok 1 page_alloc/orders\n" in said and status == 1
    assert "run: failed, though each of 1 tests passed: see above what else went wrong (" in said
    _, said = run(stopped, "check\ntest check/clean\n")
    assert "2 faults" in said and "areas and addresses\nthat are missing or left over need not be a mistake" in said
    assert "not ok 1 check/clean_to_begin_with" in said


def test_of_many_faults_check_tells_a_few(stopped):
    _, said = run(stopped, "spoil\ncheck\n")
    said = said[said.index("tessera> check"):]
    more, faults = (int(re.search(words, said)[1]) for words in (r"\n\.\.\. and (\d+) more\n", r"\n(\d+) faults\n"))
    assert said.count(" is unsound\n") == 10 and more == faults - 10 and more >= 30


def test_all_tests_at_once_are_refused_while_functions_are_missing(stopped):
    _, said = run(stopped, "test\n")
    assert "these functions are still to be written:\n  alloc_pages_bulk\n" in said and "KTAP" not in said


def test_what_works_without_the_missing_function_earns_its_points(stopped):
    tests = ["page_alloc/orders", "page_alloc/bulk"]
    orders, bulk = grading.run_kernel(stopped, labs.lab_of(stopped), tests).values()
    assert orders.passed and orders.points == 10 and not bulk.passed
    assert "alloc_pages_bulk is yours to write" in bulk.message and bulk.hint == "not-written"


def test_a_panic_after_a_stopped_boot_is_told_with_its_callers(stopped):
    _, said = run(stopped, "mistake\nkmalloc 100\n")
    assert "That panicked:\n  planted 7\n  called from " in said and "physical 0x" in said
    assert "That needs what is not there yet" not in said


def test_a_panic_at_the_prompt_still_stops_the_machine(tree):
    status, said = run(tree, "overflow\n")
    assert status == 1 and "PANIC #DF" in said and "called from, innermost first:" in said


def test_of_a_test_that_panics_the_callers_are_told(stopped):
    """On the console, and with their lines by the grader. Those of a panic that was expected are no news."""
    _, said = run(stopped, "test planted/panics\n")
    assert re.search(r"\n# PANIC planted, and 8\n# called from culprit\+0x\w+ < caller\+0x\w+ < test_planted_panics\+0x[^\n]*\nnot ok", said), said
    assert said.count("called from") == 1 and "panic_caught" not in said
    grader = grading.Grader(stopped, ["planted/panics", "planted/reads_nothing"])
    grader.run(2)
    told = [report.callers(grader.said[test], grader.results[test].why, stopped) for test in grader.tests]
    assert [re.split(r"  +|:", line)[:2] for line in told[0][:3]] == [
        [name, "tests/mm/family_test.c"] for name in ("culprit", "caller", "test_planted_panics")]
    assert told[1][0].startswith("test_planted_reads_nothing")
