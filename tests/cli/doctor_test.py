# SPDX-License-Identifier: Apache-2.0
"""holdfast doctor: what programs may rely on, and that it agrees with what a launch does."""
import json
import os
import subprocess
import unittest

from harness import CliTest


class Doctor(CliTest):
    def findings(self):
        result = self.cli('doctor', '--json')
        told = json.loads(result.stdout)
        return result.returncode, {finding['id']: finding for finding in told['findings']}, told

    def test_each_finding_has_its_words_and_what_is_wrong_has_a_fix_or_no_cure(self):
        _, found, _ = self.findings()
        for wanted in ('kvm', 'builtin-guest', 'linux-guests', 'tier-none', 'tier-software', 'tier-sev-snp',
                       'host-memory', 'userfaultfd', 'tpm', 'ima', 'iommu', 'interrupt-remapping', 'landlock',
                       'kernel', 'memlock', 'nofile', 'cgroup', 'programs', 'passt'):
            self.assertIn(wanted, found)
        for finding in found.values():
            self.assertIn(finding['state'], ('ok', 'warn', 'missing'))
            self.assertTrue(finding['detail'], finding)
            self.assertTrue(finding['fix'] is None or finding['fix'], finding)

    def test_tiers_that_are_not_built_are_never_called_available(self):
        _, found, _ = self.findings()
        for tier in ('sev-snp', 'tdx'):
            self.assertEqual(found[f'tier-{tier}']['state'], 'missing')

    def test_status_says_whether_this_host_can_launch(self):
        status, found, told = self.findings()
        blocked = any(f['required'] and f['state'] == 'missing' for f in found.values())
        self.assertEqual(status, 1 if blocked else 0)
        self.assertEqual(told['can_launch'], not blocked)

    def test_without_kvm(self):
        if os.geteuid() != 0:
            self.skipTest('skip: no root')
        result = subprocess.run(['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /dev; exec "$0" doctor --json',
                                 self.holdfast], capture_output=True, timeout=60)
        found = {f['id']: f for f in json.loads(result.stdout)['findings']}
        self.assertEqual(result.returncode, 1)
        for gone in ('kvm', 'builtin-guest', 'linux-guests'):
            self.assertEqual(found[gone]['state'], 'missing')

    def test_words_for_people_have_no_colours_in_a_pipe(self):
        result = self.cli('doctor')
        self.assertNotIn(b'\x1b', result.stdout)
        self.assertTrue(result.stdout.decode().splitlines()[-1].startswith('This host can'))


if __name__ == '__main__':
    unittest.main(verbosity=2)
