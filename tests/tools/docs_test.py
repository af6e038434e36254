# SPDX-License-Identifier: Apache-2.0
"""The documents keep to what is there: links lead to files, and the threat model names tests that exist."""
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
GTEST = re.compile(r"^(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", re.M)
SCRIPTED = re.compile(r"\bdef (test_\w+)|^test\('([^']+)'|\['([\w-]+)', \[", re.M)


def pages():
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]


def existing_tests():
    names = set()
    for path in ROOT.glob("tests/**/*"):
        if path.suffix in (".cpp", ".py", ".build"):
            text = path.read_text()
            names |= {f"{suite}.{case}" for suite, case in GTEST.findall(text)}
            names |= {name for found in SCRIPTED.findall(text) for name in found if name}
    return names


class Docs(unittest.TestCase):
    def test_links_lead_to_files(self):
        for page in pages():
            for target in LINK.findall(page.read_text()):
                with self.subTest(page=page.name, target=target):
                    self.assertTrue("://" in target or (page.parent / target).exists())

    def test_threat_rows_name_tests_that_exist(self):
        existing = existing_tests()
        rows = [line.split("|") for line in (ROOT / "docs/threat_model.md").read_text().splitlines()
                if re.match(r"\| [ADGHPX]-\d+ \|", line)]
        self.assertTrue(rows)
        for row in rows:
            shown = re.findall(r"`([^`]+)`", row[4])
            with self.subTest(row=row[1].strip()):
                self.assertTrue(shown or "none yet" in row[4] or "not claimed" in row[4])
                self.assertEqual([name for name in shown if name not in existing], [])

    def test_rows_that_code_names_exist(self):
        rows = set(re.findall(r"^\| ([ADGHPX]-\d+) \|", (ROOT / "docs/threat_model.md").read_text(), re.M))
        for kind in ("sys", "memcrypt", "iommu", "vmm", "vtpm", "guest_agent", "cli", "tests"):
            for path in (ROOT / kind).rglob("*.[ch]pp"):
                for row in re.findall(r"threat_model\.md, ([ADGHPX]-\d+)", path.read_text()):
                    self.assertIn(row, rows, path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
