# SPDX-License-Identifier: Apache-2.0
"""attest-vectors on the real evidence that lies beside the project, and on a folder whose verdicts are wrong."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ['ATTEST_VECTORS']
FOLDER = os.environ['VECTORS']

if not os.path.exists(os.path.join(FOLDER, 'cases.json')):
    print('skip: no attestation vectors')
    sys.exit(77)


def run(folder):
    done = subprocess.run([PROGRAM, folder], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


class Vectors(unittest.TestCase):
    def test_every_case_reaches_its_verdict_and_fields(self):
        status, lines, reasons = run(FOLDER)
        self.assertEqual([line for line in lines if not line.endswith(' ok')], [], reasons)
        with open(os.path.join(FOLDER, 'cases.json')) as file:
            self.assertEqual(len(lines), len(json.load(file)))
        self.assertEqual(status, 0)

    def changed(self, change):
        with open(os.path.join(FOLDER, 'cases.json')) as file:
            cases = json.load(file)
        with tempfile.TemporaryDirectory() as folder:
            for name in os.listdir(FOLDER):
                if name != 'cases.json':
                    os.symlink(os.path.abspath(os.path.join(FOLDER, name)), os.path.join(folder, name))
            with open(os.path.join(folder, 'cases.json'), 'w') as file:
                json.dump(change(cases), file)
            return run(folder)

    def test_wrong_verdicts_fields_kinds_and_files_are_said_to_be_wrong(self):
        def change(cases):
            quote = next(case for case in cases if case['kind'] == 'tpm-quote')
            return [quote | {'expect': quote['expect'] | {'authentic': False}},
                    quote | {'expect': quote['expect'] | {'strict_policy': 'reject'}},
                    quote | {'expect': quote['expect'] | {'fields': {'clock': 1}}},
                    quote | {'kind': 'horoscope'}, quote | {'files': {}}]
        status, lines, _ = self.changed(change)
        self.assertEqual(status, 1)
        self.assertEqual(len(lines), 5)
        self.assertTrue(all(line.endswith(' WRONG') for line in lines), lines)

    def test_a_folder_without_cases_proves_nothing(self):
        self.assertNotEqual(self.changed(lambda cases: [])[0], 0)


if __name__ == '__main__':
    unittest.main(verbosity=2)
