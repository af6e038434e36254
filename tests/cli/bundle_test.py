# SPDX-License-Identifier: Apache-2.0
"""Bundles: made and signed by us and by openssl, measured as the table in docs/measured_boot.md says, and refused
when anything of them is not what was signed or older than what this host has launched."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import unittest

import page_info
from harness import DEADLINE, HOLDFAST, STAND_IN, CliTest, needs_kvm, wait_until

KERNEL = page_info.bzimage(bytes(range(256)) * 40)
SHAPE = ['--cmdline', 'console=ttyS0 quiet', '--memory', '64M', '--cpus', '2', '--vtpm', 'on', '--net', 'user']


def extended(value, *digests):
    for digest in digests:
        value = hashlib.sha256(value + digest).digest()
    return value


class BundleTest(CliTest):
    def setUp(self):
        super().setUp()
        self.kernel = self.file('a-kernel', KERNEL)
        self.initrd = self.file('an-initrd', b'not much of an initrd')
        self.key, self.public = self.make_key('signer')

    def openssl(self, *words):
        subprocess.run(['openssl', *words], check=True, capture_output=True, cwd=self.place)

    def make_key(self, name, *kind):
        self.openssl('genpkey', *(kind or ('-algorithm', 'ED25519')), '-out', f'{name}.key')
        self.openssl('pkey', '-in', f'{name}.key', '-pubout', '-out', f'{name}.pub')
        return os.path.join(self.place, f'{name}.key'), os.path.join(self.place, f'{name}.pub')

    def create(self, *flags, version=3, out='b', name='web'):
        path = os.path.join(self.place, out)
        made = self.cli('bundle', 'create', name, '--security-version', str(version), '--out', path, *flags)
        self.assertEqual(made.returncode, 0, made.stderr)
        return path

    def sign(self, path, key=None):
        done = self.cli('bundle', 'sign', path, '--key', key or self.key)
        self.assertEqual(done.returncode, 0, done.stderr)
        return path

    def boot_flags(self):
        return ['--kernel', self.kernel, '--initrd', self.initrd, *SHAPE]

    def refused(self, path, code, *flags, status=1):
        result = self.cli('run', '--bundle', path, '--bundle-key', self.public, '--net', 'user', *flags)
        self.assert_failure(result, code, status)
        return result.stderr.decode()

    def rewrite(self, path, change):
        """A manifest that somebody else has written, and the same person signed."""
        with open(os.path.join(path, 'manifest.json')) as file:
            manifest = json.load(file)
        change(manifest)
        with open(os.path.join(path, 'manifest.json'), 'w') as file:
            json.dump(manifest, file)
        self.openssl('pkeyutl', '-sign', '-rawin', '-inkey', self.key, '-in', os.path.join(path, 'manifest.json'),
                     '-out', os.path.join(path, 'manifest.sig'))


class Made(BundleTest):
    def test_signature_is_one_that_openssl_knows_and_the_other_way_round(self):
        p256 = self.make_key('p256', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256')
        for key, public in ((self.key, self.public), p256):
            path = self.sign(self.create('--builtin', out=os.path.basename(key) + '-b'), key)
            files = ['-in', f'{path}/manifest.json']
            self.openssl('pkeyutl', '-verify', '-rawin', '-pubin', '-inkey', public, '-sigfile',
                         f'{path}/manifest.sig', *files)
            self.openssl('pkeyutl', '-sign', '-rawin', '-inkey', key, '-out', f'{path}/manifest.sig', *files)
            seen = self.cli('bundle', 'inspect', path, '--bundle-key', public, '--json')
            self.assertEqual(seen.returncode, 0, seen.stderr)
            self.assertTrue(json.loads(seen.stdout)['signed'])

    def test_inspect_says_what_is_decided_and_whether_anybody_vouches(self):
        path = self.sign(self.create(*self.boot_flags()))
        other = self.make_key('other')[1]
        for keys, status, is_signed in (([], 0, None), ([self.public], 0, True), ([other], 1, False),
                                        ([other, self.public], 0, True)):
            flags = [word for key in keys for word in ('--bundle-key', key)]
            seen = self.cli('bundle', 'inspect', path, '--json', *flags)
            self.assertEqual((seen.returncode, json.loads(seen.stdout)['signed']), (status, is_signed))
        told = json.loads(seen.stdout)
        self.assertEqual(told['security_version'], 3)
        self.assertEqual(told['kernel']['sha256'], hashlib.sha256(KERNEL).hexdigest())
        self.assertEqual(told['settings']['cmdline'], 'console=ttyS0 quiet')
        self.assertIn('device net\n', told['shape'])
        with open(f'{path}/manifest.json', 'rb') as file:
            self.assertEqual(told['digest'], hashlib.sha384(file.read()).hexdigest())
        self.assertIn(b'NOT signed', self.cli('bundle', 'inspect', path, '--bundle-key', other).stdout)

    def test_nothing_is_left_of_one_that_cannot_be_made(self):
        out = os.path.join(self.place, 'b')
        for flags in (['--kernel', 'missing'], ['--kernel', self.kernel, '--initrd', 'missing'],
                      ['--builtin', '--cmdline', 'a\x01b'], ['--builtin', '--vtpm', 'socket=x']):
            made = self.cli('bundle', 'create', 'web', '--security-version', '1', '--out', out, *flags)
            self.assertNotEqual(made.returncode, 0)
            self.assertFalse(os.path.exists(out))
        self.create('--builtin')
        again = self.cli('bundle', 'create', 'web', '--security-version', '1', '--out', out, '--builtin')
        self.assertEqual(again.returncode, 1)
        self.assertTrue(os.path.exists(f'{out}/manifest.json'))


class Measured(BundleTest):
    def measure(self, *flags):
        result = self.cli('measure', *flags, '--json')
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_pcrs_hold_signer_and_manifest_in_their_places(self):
        path = self.sign(self.create(*self.boot_flags()))
        told = self.measure('--bundle', path, '--bundle-key', self.public, '--net', 'user')['pcrs']['sha256']
        plain = self.measure(*self.boot_flags())['pcrs']['sha256']
        spki = subprocess.run(['openssl', 'pkey', '-pubin', '-in', self.public, '-outform', 'DER'], check=True,
                              capture_output=True).stdout
        with open(f'{path}/manifest.json', 'rb') as file:
            manifest = hashlib.sha256(file.read()).digest()
        separator, zero = hashlib.sha256(bytes(4)).digest(), bytes(32)
        kernel = hashlib.sha256(KERNEL).digest()
        self.assertEqual(told['7'], extended(zero, hashlib.sha256(spki).digest(), separator).hex())
        self.assertEqual(told['4'], extended(zero, separator, manifest, kernel).hex())
        self.assertEqual(sorted(pcr for pcr in plain if plain[pcr] != told[pcr]), ['1', '4', '7'])

    def test_launch_digest_is_that_of_this_manifest(self):
        one = self.sign(self.create('--builtin', version=3))
        two = self.sign(self.create('--builtin', version=4, out='b2'))
        digests = [self.measure('--bundle', path, '--bundle-key', self.public)['launch_digest'] for path in (one, two)]
        digests.append(self.measure('--builtin')['launch_digest'])
        self.assertEqual(len(set(digests)), 3)

    def test_tier_is_the_one_that_was_signed(self):
        path = self.sign(self.create('--builtin', '--memory-encryption', 'none'))
        self.assertIsNone(self.measure('--bundle', path, '--bundle-key', self.public)['launch_digest'])


class Refused(BundleTest):
    def test_not_signed_by_a_trusted_key(self):
        path = self.create(*self.boot_flags())
        self.refused(path, 'HF-0212')  # no signature at all
        self.sign(path, self.make_key('other')[0])
        self.assertIn('signed by none of', self.refused(path, 'HF-0212'))
        self.assert_failure(self.cli('run', '--bundle', path), 'HF-0212')  # nobody is trusted

    def test_each_flipped_byte_of_manifest_and_signature(self):
        path = self.sign(self.create(*self.boot_flags()))
        for name in ('manifest.json', 'manifest.sig'):
            with open(f'{path}/{name}', 'rb') as file:
                good = file.read()
            for at in range(0, len(good), 7):
                with open(f'{path}/{name}', 'wb') as file:
                    file.write(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
                self.refused(path, 'HF-0212')
            with open(f'{path}/{name}', 'wb') as file:
                file.write(good)

    def test_swapped_changed_longer_and_missing_files(self):
        path = self.sign(self.create(*self.boot_flags()))
        measure = ['measure', '--bundle', path, '--bundle-key', self.public, '--net', 'user']
        self.assertEqual(self.cli(*measure).returncode, 0)
        for name in ('kernel', 'initrd'):
            with open(f'{path}/{name}', 'rb') as file:
                good = file.read()
            for bad in (good[:-1] + b'!', good + b' ', good[:-1], b''):
                with open(f'{path}/{name}', 'wb') as file:
                    file.write(bad)
                self.assert_failure(self.cli(*measure), 'HF-0212')
            os.remove(f'{path}/{name}')
            self.assert_failure(self.cli(*measure), 'HF-0212')
            with open(f'{path}/{name}', 'wb') as file:
                file.write(good)
        self.assertEqual(self.cli(*measure).returncode, 0)

    def test_flags_beside_what_was_signed(self):
        path = self.sign(self.create(*self.boot_flags()))
        for flags in (['--cmdline', 'init=/bin/sh'], ['--memory', '65M'], ['--cpus', '1'], ['--console', 'virtio'], ['--kernel', self.kernel], ['--builtin'],
                      ['--vtpm', 'off'], ['--memory-encryption', 'none'], ['--clear-window', '16M']):
            with self.subTest(flags=flags):
                self.refused(path, 'HF-0214', *flags)
        config = self.file('vm.toml', b'cmdline = "init=/bin/sh"\n')
        self.refused(path, 'HF-0214', '--config', config)

    def test_another_shape_than_was_signed(self):
        path = self.sign(self.create(*self.boot_flags()))
        disk = self.file('disk', bytes(512))
        self.assertIn('device disk', self.refused(path, 'HF-0214', '--disk', disk))
        self.assert_failure(self.cli('run', '--bundle', path, '--bundle-key', self.public), 'HF-0214')  # no net

    def test_manifests_that_say_what_none_can(self):
        path = self.sign(self.create(*self.boot_flags()))
        kept = path + '-kept'
        shutil.copytree(path, kept)
        for change in (lambda m: m.update(holdfast_bundle=2), lambda m: m.update(holdfast_bundle='1'),
                       lambda m: m.update(forbids=['this']), lambda m: m.pop('security_version'),
                       lambda m: m.update(security_version=-1), lambda m: m.update(security_version=2**64),
                       lambda m: m.update(name=''), lambda m: m.update(name='x' * 41),
                       lambda m: m['kernel'].update(sha256='00'), lambda m: m['kernel'].update(path='/etc/passwd'),
                       lambda m: m['settings'].update(disk='/dev/sda'), lambda m: m['settings'].update(cpus=2),
                       lambda m: m.update(settings=[]), lambda m: m.pop('shape')):
            shutil.copytree(kept, path, dirs_exist_ok=True)
            self.rewrite(path, change)
            self.refused(path, 'HF-0212')
        with open(f'{path}/manifest.json', 'w') as file:
            file.write('{"holdfast_bundle": 1, "holdfast_bundle": 1' + ' ' * 17000 + '}')
        self.refused(path, 'HF-0212')

    def test_keys_without_a_bundle(self):
        self.assert_failure(self.cli('run', '--builtin', '--bundle-key', self.public), 'HF-0101', 2)


@needs_kvm
class Launched(BundleTest):
    def setUp(self):
        super().setUp()
        self.ends = []
        if STAND_IN:  # for the VM's processes alone
            for name in ('holdfast-anchor', 'holdfast-store', 'holdfast-vtpm'):
                os.symlink(os.path.join(os.path.dirname(HOLDFAST), name), os.path.join(self.bin, name))

    def tearDown(self):
        for end in reversed(self.ends):  # while their files are there
            end()
        super().tearDown()

    def run_bundle(self, path, *flags):
        return self.cli('run', '--bundle', path, '--bundle-key', self.public, *flags)

    def bundle(self, version):
        flags = self.guest('poweroff')
        return self.sign(self.create(*flags, version=version, out=f'b{version}'))

    def start_anchor(self):
        tpm = os.path.join(self.place, 'tpm')
        os.mkdir(tpm)
        swtpm = subprocess.Popen(['swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={tpm}', '--server',
                                  f'type=unixio,path={tpm}/sock', '--ctrl', f'type=unixio,path={tpm}/ctrl',
                                  '--flags', 'startup-clear,not-need-init'])
        self.ends.append(lambda: (swtpm.terminate(), swtpm.wait(DEADLINE)))
        wait_until(lambda: os.path.exists(f'{tpm}/sock'), 'swtpm')
        made = self.cli('anchor', 'init', '--tcti', f'swtpm:path={tpm}/sock')
        self.assertEqual(made.returncode, 0, made.stderr)
        serving = self.start('anchor', 'serve')
        self.ends.append(lambda: (serving.send_signal(signal.SIGTERM), serving.communicate(timeout=DEADLINE)))
        self.assertEqual(serving.stdout.readline(), b'ready\n')

    def test_older_than_one_that_was_launched(self):
        one, two = self.bundle(1), self.bundle(2)
        first = self.run_bundle(two)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn(b'has no anchor', first.stderr)
        self.assertEqual(self.run_bundle(one).returncode, 0)
        self.start_anchor()
        self.assertEqual(self.run_bundle(one).returncode, 0)
        newer = self.run_bundle(two)
        self.assertEqual(newer.returncode, 0, newer.stderr)
        self.assertNotIn(b'has no anchor', newer.stderr)
        self.assert_failure(self.run_bundle(one), 'HF-0213')
        self.assertEqual(self.run_bundle(two).returncode, 0)


    def test_what_runs_is_what_was_measured_before(self):
        self.holdfast = HOLDFAST  # a real guest
        path = self.sign(self.create('--builtin', '--cmdline', 'job=spin', '--vtpm', 'on'))
        told = self.cli('run', 'it', '--bundle', path, '--bundle-key', self.public, '--detach', '--json')
        self.assertEqual(told.returncode, 0, told.stderr)
        expected = self.cli('measure', '--bundle', path, '--bundle-key', self.public, '--json')
        for key in ('launch_digest', 'pcrs'):
            self.assertEqual(json.loads(told.stdout)[key], json.loads(expected.stdout)[key])
        killed = self.cli('kill', 'it')
        self.assertEqual(killed.returncode, 0, killed.stderr)


if __name__ == '__main__':
    unittest.main()
