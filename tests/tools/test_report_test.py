# SPDX-License-Identifier: Apache-2.0
"""tools/test_report.py against made-up logs of `meson test`."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools/test_report.py"


class TestReport(unittest.TestCase):
    def report(self, *runs):
        """Exit status, last line and all lines for programs given as (output, result)."""
        with tempfile.TemporaryDirectory() as build:
            logs = Path(build, "meson-logs")
            logs.mkdir()
            rows = [{"name": f"holdfast:unit / t{i}", "stdout": output, "result": result, "duration": 1,
                     "returncode": 0, "command": ["t"]} for i, (output, result) in enumerate(runs)]
            (logs / "testlog.json").write_text("\n".join(map(json.dumps, rows)))
            done = subprocess.run([sys.executable, TOOL, build], stdout=subprocess.PIPE, text=True)
            lines = done.stdout.splitlines()
            return done.returncode, lines[-1], lines

    def test_a_program_without_cases_is_one(self):
        self.assertEqual(self.report(("", "OK"))[:2], (0, "1 passed, 0 failed, 0 skipped"))

    def test_googletest_cases_are_counted(self):
        output = "[ RUN      ] A.B\n[       OK ] A.B (0 ms)\n[ RUN      ] A.C\n[  FAILED  ] A.C (1 ms)\n[  FAILED  ] A.C\n"
        self.assertEqual(self.report((output, "FAIL"))[:2], (1, "1 passed, 1 failed, 0 skipped"))

    def test_cases_of_scripts_are_counted(self):
        self.assertEqual(self.report(("ok one\nFAILED: two\nnot ok three: why\n", "FAIL"))[:2], (1, "1 passed, 2 failed, 0 skipped"))

    def test_a_program_that_dies_after_good_cases_fails(self):
        output = "[ RUN      ] A.B\n[       OK ] A.B (0 ms)\n[ RUN      ] A.C\n"
        self.assertEqual(self.report((output, "FAIL"))[:2], (1, "1 passed, 1 failed, 0 skipped"))
        self.assertEqual(self.report(("", "TIMEOUT"))[:2], (1, "0 passed, 1 failed, 0 skipped"))

    def test_a_skip_for_what_is_missing_is_a_skip_and_is_listed(self):
        status, last, lines = self.report(("skip: no /dev/no-such-device here\nskip: no /dev/no-such-device", "SKIP"))
        self.assertEqual((status, last), (0, "0 passed, 0 failed, 1 skipped"))
        self.assertIn("  t0: no /dev/no-such-device", lines)

    def test_a_skip_for_what_is_there_is_a_failure(self):
        self.assertEqual(self.report(("skip: no /dev/null", "SKIP"))[:2], (1, "0 passed, 1 failed, 0 skipped"))
        self.assertEqual(self.report(("skip: no sh", "SKIP"))[:2], (1, "0 passed, 1 failed, 0 skipped"))

    def test_a_skip_without_a_reason_is_a_failure(self):
        self.assertEqual(self.report(("felt like it", "SKIP"))[:2], (1, "0 passed, 1 failed, 0 skipped"))
        self.assertEqual(self.report(("skip: no good weather", "SKIP"))[:2], (1, "0 passed, 1 failed, 0 skipped"))

    def test_a_googletest_skip_is_judged_by_its_own_words(self):
        output = ("[ RUN      ] A.B\nf.cpp:3: Skipped\nskip: no {0}\n\n[  SKIPPED ] A.B (0 ms)\n"
                  "[ RUN      ] A.C\n[       OK ] A.C (0 ms)\n[  SKIPPED ] 1 test, listed below:\n[  SKIPPED ] A.B\n")
        self.assertEqual(self.report((output.format("/dev/nope"), "OK"))[:2], (0, "1 passed, 0 failed, 1 skipped"))
        self.assertEqual(self.report((output.format("/dev/null"), "OK"))[:2], (1, "1 passed, 1 failed, 0 skipped"))

    def test_unittest_cases_are_counted(self):
        output = ("test_a (__main__.T.test_a) ... ok\ntest_b (__main__.T.test_b)\nIts docstring. ... FAIL\n"
                  "test_c (__main__.T.test_c) ... skipped 'skip: no /dev/nope'\n\nFAILED (failures=1, skipped=1)\n")
        self.assertEqual(self.report((output, "FAIL"))[:2], (1, "1 passed, 1 failed, 1 skipped"))

    def test_a_failure_keeps_its_log(self):
        _, _, lines = self.report(("what went wrong", "FAIL"))
        self.assertTrue(any(line.endswith("meson-logs/failed/t0.txt") for line in lines))
        self.assertIn("  | what went wrong", lines)

    def test_nothing_run_is_not_a_success(self):
        with tempfile.TemporaryDirectory() as build:
            done = subprocess.run([sys.executable, TOOL, build], stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stdout.endswith("\n0 passed, 0 failed, 0 skipped\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
