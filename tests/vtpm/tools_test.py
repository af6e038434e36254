# SPDX-License-Identifier: Apache-2.0
"""tpm2-tools and openssl as users and judges of a served vTPM."""
import json
import re
import shutil
import socket
import subprocess
import sys
import unittest

from tpm_client import *

for program in ('tpm2', 'socat', 'openssl'):
    if not shutil.which(program):
        print(f'skip: no {program}')
        sys.exit(77)


class Tools(VtpmTest):
    def setUp(self):
        super().setUp()
        self.served = self.serve()
        self.client = booted(self.socket)
        self.addCleanup(lambda: self.client.close())
        self.bridge = Bridge(self.client, self.dir / 'bridge.sock')
        self.addCleanup(self.bridge.close)

    def sh(self, script, ok=True):
        done = subprocess.run(['bash', '-ec', script], cwd=self.dir, env=self.bridge.environment(),
                              capture_output=True, timeout=DEADLINE * 3)
        if ok:
            self.assertEqual(done.returncode, 0, f'{script}\n{done.stderr.decode()}')
        else:
            self.assertNotEqual(done.returncode, 0, script)
        return done.stdout.decode()

    def again(self, how):
        """The vTPM's processes end and start: `clean` or `killed`."""
        if how == 'killed':
            self.served.kill()
            self.client.close()
        else:
            self.client.close()
            self.assertEqual(self.served.stop(), 0)
        self.served = self.serve()
        self.client = self.bridge.client = booted(self.socket)

    def failed_tries(self):
        return int(re.search('LOCKOUT_COUNTER: (0x[0-9A-Fa-f]+)', self.sh('tpm2 getcap properties-variable'))[1], 16)

    def test_random_extend_and_read(self):
        self.assertRegex(self.sh('tpm2 getrandom --hex 16'), '^[0-9a-f]{32}')
        self.sh('tpm2 pcrextend 7:sha256=' + 'ab' * 32 + ',sha384=' + 'cd' * 48)
        self.assertIn('7 :', self.sh('tpm2 pcrread sha256:7+sha384:7'))

    def test_seal_to_a_pcr_policy_and_unseal_after_a_restart(self):
        make = '''tpm2 createprimary -Q -C o -c primary.ctx; tpm2 startauthsession -S s.ctx
            tpm2 policypcr -Q -S s.ctx -l sha256:7 -L policy; tpm2 flushcontext s.ctx
            echo -n secret | tpm2 create -Q -C primary.ctx -L policy -i - -u k.pub -r k.priv; tpm2 flushcontext -t'''
        use = '''tpm2 createprimary -Q -C o -c primary.ctx; tpm2 load -Q -C primary.ctx -u k.pub -r k.priv -c k.ctx
            tpm2 flushcontext -t; tpm2 unseal -c k.ctx -p pcr:sha256:7; tpm2 flushcontext -t'''
        self.sh(make)
        self.assertEqual(self.sh(use), 'secret')
        self.again('clean')
        self.assertEqual(self.sh(use), 'secret')
        self.sh('tpm2 pcrextend 7:sha256=' + 'ab' * 32)
        self.sh(use, ok=False)

    def test_nv_and_counter_over_restarts(self):
        self.sh('''tpm2 nvdefine -Q 0x1800001 -C o -s 8 -a "ownerread|ownerwrite"
            tpm2 nvdefine -Q 0x1800002 -C o -a "nt=counter|ownerread|ownerwrite"
            echo -n 01234567 | tpm2 nvwrite -Q 0x1800001 -C o -i -
            tpm2 nvincrement -Q 0x1800002 -C o''')
        count = int(self.sh('tpm2 nvread 0x1800002 -C o | od -An -tx1 | tr -d " \\n"'), 16)
        for how in ('clean', 'killed'):
            self.again(how)
            self.assertEqual(self.sh('tpm2 nvread 0x1800001 -C o'), '01234567')
            self.assertEqual(int(self.sh('tpm2 nvread 0x1800002 -C o | od -An -tx1 | tr -d " \\n"'), 16), count)
            self.sh('tpm2 nvincrement -Q 0x1800002 -C o')
            count += 1

    def test_quote_is_verified_outside(self):
        self.sh('''tpm2 createek -Q -G ecc -c ek.ctx; tpm2 createak -Q -C ek.ctx -G ecc -g sha256 -s ecdsa -c ak.ctx -u ak.pem -f pem
            tpm2 flushcontext -t; tpm2 quote -Q -c ak.ctx -l sha256:0,7 -q 1234abcd -m q.msg -s q.sig -o q.pcrs
            tpm2 checkquote -Q -u ak.pem -m q.msg -s q.sig -f q.pcrs -q 1234abcd''')
        self.sh('tpm2 checkquote -Q -u ak.pem -m q.msg -s q.sig -f q.pcrs -q 1234abce', ok=False)

    def test_ek_certificates_chain_to_the_host_and_carry_the_keys_that_clients_make(self):
        ca = self.state / 'host/ca.pem'
        owner = json.loads(self.cli('list', '--json').stdout)[0]
        for index, key, algorithm in ((0x1c00002, 'rsa', 'rsa'), (0x1c0000a, 'p256', 'ecc256'),
                                      (0x1c00016, 'p384', 'ecc384')):
            with self.subTest(key):
                self.sh(f'tpm2 nvread {index:#x} -C o > {key}.der; openssl x509 -inform der -in {key}.der -out {key}.pem')
                self.sh(f'openssl verify -x509_strict -CAfile {ca} {key}.pem')
                text = self.sh(f'openssl x509 -in {key}.pem -noout -text')
                for part in ('2.23.133.8.1', 'CA:FALSE', f'urn:uuid:{owner["id"]}', 'CN = box', 'holdfast-vtpm',
                             'OU = ' + re.sub('[^A-Za-z0-9.-]', '-', socket.gethostname())):
                    self.assertIn(part, text)
                self.sh(f'tpm2 createek -Q -G {algorithm} -c {key}.ctx -u {key}.pub -f pem; tpm2 flushcontext -t')
                self.assertEqual(self.sh(f'openssl x509 -in {key}.pem -noout -pubkey'), self.sh(f'cat {key}.pub'))
                self.sh(f'tpm2 nvwrite {index:#x} -C o -i {key}.der', ok=False)

    def test_the_certificates_name_the_tpm_as_it_names_itself(self):
        text = self.sh('tpm2 nvread 0x1c00002 -C o | openssl x509 -inform der -noout -text')
        raw = self.sh('tpm2 getcap properties-fixed')
        vendor = re.search('TPM2_PT_MANUFACTURER:\n +raw: 0x([0-9A-Fa-f]+)', raw)[1]
        self.assertIn(f'id:{vendor.upper():0>8}', text)

    def cycles(self, how, use):
        self.sh('''tpm2 createprimary -Q -C o -c primary.ctx
            echo -n secret | tpm2 create -Q -C primary.ctx -p pw -i - -u k.pub -r k.priv; tpm2 flushcontext -t''')
        before = self.failed_tries()
        for _ in range(50 if LONG else 8):
            self.assertEqual(self.sh(use), 'secret')
            self.again(how)
        self.assertEqual(self.failed_tries(), before)

    # Both need an authorisation that is counted; none of it fails.
    USE = '''tpm2 createprimary -Q -C o -c primary.ctx; tpm2 load -Q -C primary.ctx -u k.pub -r k.priv -c k.ctx
        tpm2 flushcontext -t; tpm2 pcrextend 8:sha256=''' + 'ab' * 32 + '''; tpm2 unseal -c k.ctx -p pw'''

    def test_failed_tries_do_not_climb_over_clean_cycles(self):
        self.cycles('clean', self.USE)

    def test_failed_tries_do_not_climb_over_killed_cycles(self):
        self.cycles('killed', self.USE)

    def test_failed_tries_are_on_disk_before_they_are_answered(self):
        self.sh('''tpm2 createprimary -Q -C o -c primary.ctx
            echo -n secret | tpm2 create -Q -C primary.ctx -p pw -i - -u k.pub -r k.priv; tpm2 flushcontext -t''')
        for tries in (1, 2):
            self.sh(self.USE.replace('-p pw', '-p wrong'), ok=False)
            self.again('killed')
            self.assertEqual(self.failed_tries(), tries)


if __name__ == '__main__':
    unittest.main(verbosity=2)
