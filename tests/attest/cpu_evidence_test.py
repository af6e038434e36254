#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`holdfast verify` on the evidence of VMs of hardware tiers. The reports are synthetic (cpu_evidence.cpp): no CPU made them."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cbor  # noqa: E402

NONCE = '01' * 16
AT = '2026-05-28T20:26:40Z'


class CpuEvidence(unittest.TestCase):
    def setUp(self):
        work = tempfile.TemporaryDirectory(prefix='holdfast-cpu-')
        self.addCleanup(work.cleanup)
        self.dir = pathlib.Path(work.name)
        self.ak = subprocess.run([os.environ['CPU_EVIDENCE'], self.dir], check=True, capture_output=True, text=True).stdout.strip()

    def verify(self, name, more, *flags):
        (self.dir / 'policy.toml').write_text(f'[host]\nak = ["{self.ak}"]\n[launch]\ntier = ["sev-snp", "tdx"]\n'
                                              f'digest = ["{"07" * 48}"]\n{more}\n')
        return subprocess.run([os.environ['HOLDFAST'], 'verify', self.dir / name, '--policy', self.dir / 'policy.toml', '--nonce', NONCE,
                               '--at', AT, *flags], capture_output=True, text=True, timeout=60)

    def told(self, name, more, *flags):
        done = self.verify(name, more, '--json', *flags)
        self.assertTrue(done.stdout, done.stderr)
        verdict = json.loads(done.stdout)
        codes = [each['code'] for each in verdict['findings'] if each['stage'] != 'note']
        self.assertEqual(done.returncode, 1 if codes else 0)
        return codes, verdict['evidence']

    SNP = '[snp]\nroots = ["ark.der"]'
    TDX = '[tdx]\nroots = ["intel.der"]\ncollateral = "required"'

    def test_snp_report_is_a_layer_of_the_evidence(self):
        codes, told = self.told('sev-snp.cbor', self.SNP)
        self.assertEqual(codes, [])
        self.assertEqual(told['cpu']['tier'], 'sev-snp')
        self.assertEqual(told['cpu']['launch_digest'], told['launch']['launch_digest'])
        self.assertEqual(self.told('sev-snp.cbor', '')[0], ['cert.untrusted'])
        self.assertEqual(self.told('sev-snp.cbor', self.SNP + '\nmin_tcb = { snp = 99 }')[0], ['snp.min-tcb'])
        self.assertEqual(self.told('sev-snp.cbor', self.SNP + f'\nchips = ["{"00" * 64}"]')[0], ['snp.chip-not-allowed'])

    def test_tdx_quote_with_the_verifiers_collateral(self):
        codes, told = self.told('tdx.cbor', self.TDX, '--collateral', self.dir / 'collateral.json')
        self.assertEqual(codes, [])
        self.assertEqual((told['cpu']['tier'], told['cpu']['tcb_status']), ('tdx', 'UpToDate'))
        self.assertEqual(self.told('tdx.cbor', self.TDX)[0], ['tdx.collateral-demanded'] * 2)
        self.assertEqual(self.told('tdx.cbor', self.TDX + f'\nmrtd = ["{"00" * 48}"]', '--collateral', self.dir / 'collateral.json')[0],
                         ['tdx.mrtd'])

    def test_tree_and_page_show_it(self):
        done = self.verify('sev-snp.cbor', self.SNP, '--html', self.dir / 'page.html')
        for text in (done.stdout, (self.dir / 'page.html').read_text()):
            self.assertIn('chip_id', text)
            self.assertIn('accepted', text)

    def test_report_that_was_taken_away_or_is_anothers(self):
        snp = cbor.loads((self.dir / 'sev-snp.cbor').read_bytes())
        tdx = cbor.loads((self.dir / 'tdx.cbor').read_bytes())
        for cpu in (None, tdx['cpu']):
            parts = {**snp, 'cpu': cpu}
            (self.dir / 'other.cbor').write_bytes(cbor.dumps({key: value for key, value in parts.items() if value}))
            self.assertEqual(self.told('other.cbor', self.SNP + '\n' + self.TDX)[0], ['evidence.binding'])


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
