# SPDX-License-Identifier: Apache-2.0
"""Synthetic vectors: quotes and NV certifications that swtpm makes and tpm2-tools ask for, of kinds that no public
collection has, judged by attest-vectors and by holdfast verify. tpm2_checkquote says what it thinks of them too."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

VECTORS_PROGRAM = os.environ['ATTEST_VECTORS']
HOLDFAST = os.environ['HOLDFAST']
DEADLINE = 60

for program in ('swtpm', 'swtpm_ioctl', 'tpm2', 'openssl'):
    if not shutil.which(program):
        print(f'skip: no {program}')
        sys.exit(77)


class Tpm(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='hf-attest-')
        self.addCleanup(shutil.rmtree, self.dir)
        self.cases = []
        # As a daemon: its sockets are there when the command returns.
        subprocess.run(['swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={self.dir}', '--server',
                        f'type=unixio,path={self.dir}/tpm', '--ctrl', f'type=unixio,path={self.dir}/tpm.ctrl', '--flags',
                        'not-need-init,startup-clear', '--pid', f'file={self.dir}/pid', '--daemon'], check=True)
        with open(os.path.join(self.dir, 'pid')) as file:
            self.addCleanup(os.kill, int(file.read()), signal.SIGKILL)

    def sh(self, script):
        env = os.environ | {'TPM2TOOLS_TCTI': f'swtpm:path={self.dir}/tpm'}
        done = subprocess.run(['bash', '-ec', script], cwd=self.dir, env=env, capture_output=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, 0, f'{script}\n{done.stderr.decode()}')
        return done.stdout.decode()

    def write(self, name, content):
        with open(os.path.join(self.dir, name), 'w') as file:
            file.write(content)

    def make_ak(self, key='rsa', scheme='rsassa', hash_alg='sha256'):
        self.scheme = scheme
        self.sh(f'''tpm2 createek -Q -c ek.ctx -G {key if key == "rsa" else "ecc"} -u ek.pub; tpm2 flushcontext -t
            tpm2 createak -Q -C ek.ctx -c ak.ctx -G {key} -g {hash_alg} -s {scheme} -u ak.pub -n ak.name; tpm2 flushcontext -t
            tpm2 readpublic -Q -c ak.ctx -f pem -o ak.pem; tpm2 flushcontext -t''')

    def measure_boot(self):
        self.sh('for pcr in 0 1 2 3 4 5 6 7; do tpm2 pcrextend $pcr:sha1=' + 'ab' * 20 + ',sha256=' + 'ab' * 32 +
                ',sha384=' + 'cd' * 48 + '; done')

    def quote(self, name, selection='sha256:0,1,2,3,4,5,6,7,17,18,19,20,21,22', nonce='1234', hash_alg='sha256'):
        self.sh(f'''tpm2 quote -Q -c ak.ctx -l {selection} -q {nonce} -g {hash_alg} --scheme {self.scheme} -m {name}.msg -s {name}.sig
            tpm2 flushcontext -t; tpm2 pcrread {selection} > {name}.pcrs.txt''')
        values, bank = {}, None
        with open(os.path.join(self.dir, f'{name}.pcrs.txt')) as file:
            for line in file:
                left, _, right = line.partition(':')
                if not right.strip():
                    bank = left.strip()
                else:
                    values[left.strip()] = right.strip()[2:].lower()
        self.write(f'{name}.pcrs.json', json.dumps(values))

    def case(self, name, authentic, verdict, **more):
        files = {'attest': f'{name}.msg', 'signature': f'{name}.sig', 'pcrs': f'{name}.pcrs.json', 'ak': 'ak.pub'}
        self.cases.append({'id': f'{name}-{len(self.cases)}', 'kind': 'tpm-quote', 'files': files, 'nonce': '1234',
                           'expect': {'authentic': authentic, 'strict_policy': verdict}} | more)

    def judge(self):
        self.write('cases.json', json.dumps(self.cases))
        done = subprocess.run([VECTORS_PROGRAM, self.dir, '--reasons'], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), len(self.cases))
        return done.stderr

    def verify(self, policy, *words, status):
        self.write('policy.toml', policy)
        done = subprocess.run([HOLDFAST, 'verify', *words, '--policy', 'policy.toml', '--json'], cwd=self.dir,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout) if done.stdout else None

    def name_of_ak(self):
        with open(os.path.join(self.dir, 'ak.name'), 'rb') as file:
            return file.read().hex()


class Quotes(Tpm):
    def test_quotes_of_each_kind_of_key(self):
        for key, scheme, hash_alg in (('rsa', 'rsassa', 'sha256'), ('rsa', 'rsapss', 'sha256'),
                                      ('ecc256', 'ecdsa', 'sha256'), ('ecc384', 'ecdsa', 'sha384')):
            with self.subTest(f'{key} {scheme} {hash_alg}'):
                self.cases = []
                self.make_ak(key, scheme, hash_alg)
                if key == 'rsa' and scheme == 'rsassa':
                    self.measure_boot()
                self.quote('quote', hash_alg=hash_alg)
                self.case('quote', True, 'accept')
                self.case('quote', False, 'reject', pcr_swap=[7, 17])
                self.case('quote', False, 'reject', truncate=20)
                self.case('quote', False, 'reject', append='00')
                self.judge()
                if scheme == 'rsassa':  # the tool takes no other RSA scheme from a PEM key
                    self.sh('tpm2 quote -Q -c ak.ctx -l sha256:0,7 -q 1234 -m q.msg -s q.sig -o q.pcrs; tpm2 flushcontext -t;'
                            'tpm2 checkquote -Q -u ak.pem -m q.msg -s q.sig -f q.pcrs -q 1234')

    def test_weak_bank_and_missing_pcr(self):
        self.make_ak()
        self.measure_boot()
        self.quote('sha1', selection='sha1:0,1,2,3,4,5,6,7')
        self.case('sha1', True, 'reject')
        self.quote('few', selection='sha256:0,1,2,3,4,5,6')
        self.case('few', True, 'reject')
        reasons = self.judge()
        self.assertIn('tpm.bank sha1', reasons)
        self.assertIn('tpm.selection PCR 7', reasons)

    def test_statement_of_another_kind_is_no_quote(self):
        self.make_ak()
        self.measure_boot()
        self.quote('quote')
        self.sh('tpm2 certify -Q -C ak.ctx -c ak.ctx -g sha256 -o quote.msg -s quote.sig -q 1234 || '
                'tpm2 certify -Q -C ak.ctx -c ak.ctx -g sha256 -o quote.msg -s quote.sig; tpm2 flushcontext -t')
        self.case('quote', False, 'reject')
        self.assertIn('tpm.type', self.judge())

    def test_dynamic_launch(self):
        self.make_ak()
        self.measure_boot()
        self.quote('none')
        self.case('none', True, 'reject', policy={'require_drtm': True})
        self.write('mle', 'a measured launch environment')
        self.sh('swtpm_ioctl --unix tpm.ctrl -h - < mle')
        self.quote('drtm')
        self.case('drtm', True, 'accept', policy={'require_drtm': True})
        self.assertIn('drtm.none', self.judge())
        # A TPM that was reset to begin one, and then had nothing measured, cannot be made so: the hash always extends.


class Verify(Tpm):
    def words(self, name, nonce='1234'):
        return [f'{name}.msg', '--format', 'tpm-quote', '--signature', f'{name}.sig', '--key', 'ak.pub', '--pcrs',
                f'{name}.pcrs.txt', '--nonce', nonce]

    def test_quote_is_accepted_by_the_ak_that_the_policy_names_and_no_other(self):
        self.make_ak()
        self.measure_boot()
        self.quote('quote')
        policy = f'[host]\nak = ["{self.name_of_ak()}"]\n'
        verdict = self.verify(policy, *self.words('quote'), status=0)
        self.assertEqual((verdict['verdict'], verdict['authentic']), ('accepted', True))
        self.assertEqual(len(verdict['evidence']['pcrs']['sha256']), 14)
        for changed, words, code in ((f'[host]\nak = ["{"00" * 34}"]\n', self.words('quote'), 'tpm.ak-unknown'),
                                     ('', self.words('quote'), 'tpm.ak-unknown'),
                                     (policy, self.words('quote', '1235'), 'tpm.nonce'),
                                     (policy, self.words('quote')[:-2], 'nonce.not-asked'),
                                     (policy + 'event_log = "required"\n', self.words('quote'), 'log.missing'),
                                     (policy + 'ima = "required"\n', self.words('quote'), 'ima.missing'),
                                     (policy + f'pcrs.sha256 = {{ "4" = "{"11" * 32}" }}\n', self.words('quote'), 'srtm.pcr'),
                                     (policy + 'dynamic_launch = "required"\n', self.words('quote'), 'drtm.none')):
            verdict = self.verify(changed, *words, status=1)
            self.assertEqual([f['code'] for f in verdict['findings'] if f['stage'] != 'note'], [code])
        verdict = self.verify(policy + 'ek = ["sha256:00"]\n', *self.words('quote'), status=0)
        self.assertEqual([f['code'] for f in verdict['findings']], ['policy.not-judged'])

    def test_older_quote_is_refused_once_a_newer_one_was_accepted(self):
        self.make_ak()
        self.measure_boot()
        self.quote('old')
        self.quote('new')
        policy = f'[freshness]\nlast_seen = "seen.json"\n[host]\nak = ["{self.name_of_ak()}"]\n'
        self.verify(policy, *self.words('old'), status=0)
        self.verify(policy, *self.words('new'), status=0)
        verdict = self.verify(policy, *self.words('old'), status=1)
        self.assertEqual(verdict['findings'][0]['code'], 'tpm.clock-back')
        self.write('seen.json', 'damaged')
        self.verify(policy, *self.words('new'), status=2)
        # One that cannot be looked at is not one that is not there yet.
        seen = os.path.join(self.dir, 'seen.json')
        os.remove(seen)
        os.symlink('seen.json', seen)
        self.verify(policy, *self.words('new'), status=2)

    def test_certified_counter(self):
        self.make_ak()
        self.sh('''tpm2 nvdefine -Q 0x1800001 -C o -a "nt=counter|ownerread|ownerwrite|authread"
            tpm2 nvincrement -Q 0x1800001 -C o
            tpm2 nvcertify -Q -C ak.ctx -c o -g sha256 --size 8 -q 1234 --attestation one.msg -o one.sig 0x1800001; tpm2 flushcontext -t
            tpm2 nvincrement -Q 0x1800001 -C o
            tpm2 nvcertify -Q -C ak.ctx -c o -g sha256 --size 8 -q 1234 --attestation two.msg -o two.sig 0x1800001; tpm2 flushcontext -t''')
        shown = self.sh('tpm2 nvreadpublic 0x1800001')
        name = re.search('name: ([0-9a-f]+)', shown)[1]
        attributes = bytes.fromhex(re.findall('value: 0x([0-9A-Fa-f]+)', shown)[-1].zfill(8))
        areas = [bytes.fromhex('01800001000b') + order + bytes.fromhex('00000008')
                 for order in (attributes, attributes[::-1])]  # tpm2-tools print it in either order
        area = next(area for area in areas if '000b' + hashlib.sha256(area).hexdigest() == name)
        with open(os.path.join(self.dir, 'nv.public'), 'wb') as file:  # TPMS_NV_PUBLIC, as the verifier expects it
            file.write(area)
        words = ['--format', 'nv-certify', '--key', 'ak.pub', '--nv-public', 'nv.public', '--nonce', '1234']
        policy = f'[freshness]\nlast_seen = "seen.json"\n[host]\nak = ["{self.name_of_ak()}"]\n'
        two = self.verify(policy, 'two.msg', '--signature', 'two.sig', *words, status=0)
        one = self.verify(policy, 'one.msg', '--signature', 'one.sig', *words, status=1)
        self.assertIn('nv.counter-back', [f['code'] for f in one['findings']])
        self.assertEqual(two['evidence']['counter'], one['evidence']['counter'] + 1)


class Page(unittest.TestCase):
    """docs/attestation.md."""

    def test_the_worked_example_runs_as_it_is_printed(self):
        page = (pathlib.Path(__file__).resolve().parents[2] / 'docs/attestation.md').read_text()
        example = page.split('## A worked example', 1)[1].split('\n## ', 1)[0]
        commands = '\n'.join(line[4:] for line in example.splitlines() if line.startswith('    '))
        with tempfile.TemporaryDirectory(prefix='hf-attest-') as folder:
            done = subprocess.run(['bash', '-ec', commands], cwd=folder, capture_output=True, text=True, timeout=DEADLINE,
                                  env=os.environ | {'PATH': f'{os.path.dirname(HOLDFAST)}:{os.environ["PATH"]}'})
            pid = pathlib.Path(folder, 'swtpm.pid')
            if done.returncode and pid.exists():  # else its last line has ended it
                os.kill(int(pid.read_text()), signal.SIGKILL)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(re.findall('└─ (accepted|refused)', done.stdout), ['accepted', 'refused'], done.stdout)


if __name__ == '__main__':
    unittest.main(verbosity=2)
