"""The `Tests` verifier in a real sandbox."""

from __future__ import annotations

import pytest

from branchwise.verifiers import Tests

from .bench import Bench

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

FIXED = "def add(a, b):\n    return a + b\n\n\ndef double(a):\n    return add(a, a)\n\n\ndef one():\n    return 1\n"


async def test_share_of_passing_tests(bench: Bench) -> None:
    """A broken state scores the share of tests that pass, with the failures as feedback; a repaired one is accepted."""
    broken = await bench.judge(Tests())
    assert (broken.value, broken.passed, broken.integrity) == (pytest.approx(1 / 3), False, "in-process")
    assert broken.feedback.startswith("1 of 3 tests pass")
    assert "assert -1 == 5" in broken.feedback
    fixed = await bench.judge(Tests(), {"maths.py": FIXED})
    assert (fixed.value, fixed.passed) == (1.0, True)


async def test_edited_tests_do_not_count(bench: Bench) -> None:
    """Tests that the agent weakened, deleted or added are put back before the run, and the verdict says so."""
    weak = "def test_nothing():\n    pass\n"
    verdict = await bench.judge(Tests(), {"tests/test_maths.py": weak, "tests/test_more.py": weak})
    assert (verdict.value, verdict.passed) == (pytest.approx(1 / 3), False)
    assert verdict.feedback.startswith("Changes to tests/test_maths.py, tests/test_more.py were ignored")
    gone = await bench.judge(Tests(), {"tests/test_maths.py": None})
    assert not gone.passed


async def test_a_conftest_cannot_skip_the_tests(bench: Bench) -> None:
    """Configuration of the test runner is protected like the tests themselves."""
    skip = "collect_ignore_glob = ['*']\n"
    assert not (await bench.judge(Tests(), {"conftest.py": skip, "tests/conftest.py": skip})).passed


async def test_syntax_errors_loops_and_early_exits(bench: Bench) -> None:
    """Code that cannot be imported, never ends or exits with status 0 before a test ran is not accepted."""
    assert (await bench.judge(Tests(), {"maths.py": "def add(:\n"})).value == 0.0
    loop = await bench.judge(Tests(timeout_seconds=2), {"maths.py": "while True:\n    pass\n"})
    assert (loop.passed, loop.feedback.splitlines()[0]) == (False, "stopped after 2 s")
    leave = await bench.judge(Tests(), {"maths.py": "import os\nos._exit(0)\n"})
    assert not leave.passed


async def test_other_commands_score_by_status(bench: Bench) -> None:
    """A command whose output has no summary that is understood passes or fails by its status."""
    assert (await bench.judge(Tests("true"))).passed
    failed = await bench.judge(Tests("echo oh no; exit 3"))
    assert (failed.value, failed.feedback) == (0.0, "exit code 3\noh no")
    unittest = await bench.judge(Tests("python3 -m unittest -q tests.test_maths"))
    assert not unittest.passed


async def test_a_pass_must_be_that_of_the_same_tests(bench: Bench) -> None:
    """Tests skipped by the code count as not passed; what the untouched task skips or excuses may stay so."""
    skips = "import unittest\n\n\ndef add(a, b):\n    raise unittest.SkipTest('no')\n\n\ndouble = add\n\n\ndef one():\n    return 1\n"
    verdict = await bench.judge(Tests(), {"maths.py": skips})
    assert (verdict.value, verdict.passed) == (pytest.approx(1 / 3), False)
    assert "but not in the untouched task" in verdict.feedback
    tests = (
        "import pytest\nfrom maths import add\n\n\n@pytest.mark.skip\ndef test_s():\n    pass\n\n\n"
        "@pytest.mark.xfail\ndef test_x():\n    assert False\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
    )
    marked = Bench(bench.sandboxes, await bench.state({"tests/test_maths.py": tests}))
    assert (await marked.judge(Tests(), {"maths.py": FIXED})).feedback == "1 of 1 tests pass"
    named = (
        "import pytest\nimport maths\n\n\n@pytest.mark.parametrize('n', maths.NUMBERS)\ndef test_n(n):\n    assert n\n"
    )
    origin = Bench(bench.sandboxes, await bench.state({"tests/test_maths.py": named, "maths.py": "NUMBERS = [1]\n"}))
    more = {"maths.py": "NUMBERS = [1, 2]\n"}
    assert "not the tests of the untouched task" in (await origin.judge(Tests(), more)).feedback
    assert (await origin.judge(Tests(same_tests=False), more)).passed


async def test_files_that_could_not_be_imported_may_bring_tests(bench: Bench) -> None:
    """Where the untouched task lacks a module, the tests that need it are known only once it is there."""
    tests = "from geometry import area\n\n\ndef test_area():\n    assert area(2) == 4\n"
    origin = Bench(bench.sandboxes, await bench.state({"tests/test_geometry.py": tests, "maths.py": FIXED}))
    for command in ("pytest -q -p no:cacheprovider", "python3 -m unittest -q tests.test_geometry"):
        assert not (await origin.judge(Tests(command), {"other.py": ""})).passed
    whole = await origin.judge(Tests(), {"geometry.py": "def area(x):\n    return x * x\n"})
    assert (whole.passed, whole.feedback) == (True, "4 of 4 tests pass")


async def test_links_are_no_way_around(bench: Bench) -> None:
    """A link in the place of a test, of its folder or of a configuration file is replaced by what was there."""
    tests = "def test_add():\n    pass\n\n\ndef test_double():\n    pass\n\n\ndef test_one():\n    pass\n"
    moved = "mv tests old; mkdir fake; mv easy.py fake/test_maths.py; ln -s fake tests; ln -s old conftest.py || true"
    verdict = await bench.judge(Tests(), {"easy.py": tests}, shell=moved)
    assert (verdict.value, verdict.passed) == (pytest.approx(1 / 3), False)
    linked = Bench(bench.sandboxes, await bench.state({"data.txt": "5"}, shell="ln -s ../data.txt tests/data"))
    turned = await linked.judge(Tests(), {"maths.py": FIXED, "evil.txt": "6"}, shell="ln -sfn ../evil.txt tests/data")
    assert turned.feedback.startswith("Changes to tests/data were ignored")
    assert turned.passed


async def test_tests_changed_by_the_run(bench: Bench) -> None:
    """Code that changes tests while they run is not believed at all, even if all of them pass."""
    code = FIXED + "open('tests/test_maths.py', 'a').write('#')\n"
    verdict = await bench.judge(Tests(), {"maths.py": code})
    assert (verdict.value, verdict.passed) == (0.0, False)
    assert "changed" in verdict.feedback


async def test_runs_that_differ(bench: Bench) -> None:
    """With `repeat` code that passes only now and then is not accepted, and the feedback says why."""
    lucky = "import random\n" + FIXED.replace("a + b", "a + b + (random.random() > 0.01)")
    verdict = await bench.judge(Tests(repeat=3), {"maths.py": lucky})
    assert not verdict.passed
    assert (await bench.judge(Tests(repeat=2), {"maths.py": FIXED})).passed


async def test_suites_of_unittest(bench: Bench) -> None:
    """Suites of unittest are watched as those of pytest are, test by test."""
    cases = (
        "import unittest\nfrom maths import add\n\n\nclass MathsTest(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(add(2, 3), 5)\n\n"
        "    def test_sub(self):\n        with self.subTest(n=1):\n            self.assertEqual(add(1, 0), 1)\n\n"
        "    @unittest.skip('later')\n    def test_later(self):\n        self.fail()\n"
    )
    origin = Bench(bench.sandboxes, await bench.state({"tests/__init__.py": "", "tests/test_maths.py": cases}))
    for command in ("python3 -m unittest discover -q", "python3 -m pytest -q -p no:cacheprovider"):
        verifier = Tests(command)
        assert (await origin.judge(verifier)).value == pytest.approx(1 / 2)
        assert (await origin.judge(verifier, {"maths.py": FIXED})).feedback == "2 of 2 tests pass"
