# SPDX-License-Identifier: Apache-2.0
"""A launch with a TPM: what is in its PCRs, what `measure` says before, and what docs/measured_boot.md says."""
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HOLDFAST = os.environ['HOLDFAST']
TREE = os.environ['TREE']
DEADLINE = 60
BANKS = {'sha256': 0x000b, 'sha384': 0x000c}
GET_CAPABILITY, SET_DATAFD = 1, 16


def extend(bank, events):
    """A PCR after these digests."""
    value = bytes(hashlib.new(bank).digest_size)
    for data in events:
        value = hashlib.new(bank, value + hashlib.new(bank, data).digest()).digest()
    return value.hex()


def by_the_table(bank, shape, kernel, cmdline, initrd=None):
    """docs/measured_boot.md, in Python."""
    version = subprocess.run([HOLDFAST, '--version'], stdout=subprocess.PIPE, check=True).stdout.strip()
    with open(f'{TREE}/vmm/boot/dsdt.inc') as file:
        dsdt = bytes(int(number, 16) for number in re.findall('0x[0-9a-f]{2}', file.read()))
    separator = bytes(4)
    pcrs = {'0': [version, dsdt, separator], '1': [shape, separator], '2': [separator], '3': [separator],
            '4': [separator, kernel], '5': [separator], '6': [separator], '7': [separator], '8': [cmdline]}
    if initrd is not None:
        pcrs['9'] = [initrd]
    return {pcr: extend(bank, events) for pcr, events in pcrs.items()}


class MeasuredBoot(unittest.TestCase):
    def setUp(self):
        if not shutil.which('swtpm'):
            self.skipTest('skip: no swtpm')
        self.place = tempfile.mkdtemp(prefix='hf-')
        self.path = os.path.join(self.place, 'tpm.sock')
        self.tpm = subprocess.Popen(['swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={self.place}', '--ctrl',
                                     f'type=unixio,path={self.path}'])
        end = time.monotonic() + DEADLINE
        while not os.path.exists(self.path):  # swtpm has no other word for "ready"
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def tearDown(self):
        self.tpm.kill()
        self.tpm.wait()
        shutil.rmtree(self.place)

    def file(self, name, data):
        path = os.path.join(self.place, name)
        with open(path, 'wb') as file:
            file.write(data)
        return path

    def holdfast(self, *words):
        return subprocess.run([HOLDFAST, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=DEADLINE)

    def measured(self, *flags):
        done = self.holdfast('measure', '--json', '--vtpm', f'socket={self.path}', *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def run_builtin(self, *flags):
        return self.holdfast('--state-dir', os.path.join(self.place, 'state'), 'run', '--builtin', '--memory-encryption',
                             'none', '--vtpm', f'socket={self.path}', *flags)

    def read_pcr(self, alg, pcr):
        """By a client of our own, which does not reset the TPM."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(self.path)
            ours, theirs = socket.socketpair()
            with ours, theirs:
                socket.send_fds(control, [struct.pack('>I', SET_DATAFD)], [theirs.fileno()])
                self.assertEqual(control.recv(4), bytes(4))
                select = (1 << pcr).to_bytes(3, 'little')
                ours.sendall(struct.pack('>HIIIHB', 0x8001, 20, 0x17e, 1, alg, 3) + select)
                answer = ours.recv(4096)
        self.assertEqual(answer[6:10], bytes(4), answer.hex())
        size = struct.unpack('>H', answer[28:30])[0]
        return answer[30:30 + size].hex()

    def test_measure_says_what_the_table_says(self):
        kernel = os.environ['BUILTIN_KERNEL']
        with open(kernel, 'rb') as file:
            content = file.read()
        shape = (b'holdfast shape 1\nmemory 67108864\ncpus 2\nconsole ttyS0\ndevice pvpanic\ndevice rng\n'
                 b'device disk read-only\ndevice tpm\n')
        said = self.measured('--builtin', '--cmdline', 'job=hello x=1', '--memory', '64M', '--cpus', '2', '--disk', 'd.img,ro')
        for bank in BANKS:
            self.assertEqual(said['pcrs'][bank], by_the_table(bank, shape, content, b'job=hello x=1'))

    def test_without_a_tpm_there_are_no_pcrs_and_another_digest(self):
        without = json.loads(self.holdfast('measure', '--json', '--builtin').stdout)
        self.assertNotIn('pcrs', without)
        self.assertNotEqual(without['launch_digest'], self.measured('--builtin')['launch_digest'])

    def test_what_is_launched_decides_the_pcr_that_it_belongs_to(self):
        base = self.measured('--builtin')['pcrs']['sha256']
        changed = lambda *flags: {pcr for pcr, value in self.measured('--builtin', *flags)['pcrs']['sha256'].items()
                                  if value != base[pcr]}
        self.assertEqual(changed('--cmdline', 'x'), {'8'})
        self.assertEqual(changed('--cpus', '2'), {'1'})
        self.assertEqual(changed('--memory', '256M'), {'1'})

    def test_a_launch_extends_what_measure_said(self):
        if not os.access('/dev/kvm', os.W_OK):
            self.skipTest('skip: no /dev/kvm')
        flags = ['--cmdline', 'job=hello', '--memory', '64M']
        for launch in ('first', 'second'):  # the second resets a TPM that was used
            done = self.run_builtin(*flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn('JOB: ok', done.stdout, launch)
            for bank, expected in self.measured(*flags, '--builtin')['pcrs'].items():
                for pcr, value in expected.items():
                    self.assertEqual(self.read_pcr(BANKS[bank], int(pcr)), value, f'{launch}: {bank} {pcr}')

    def test_a_tpm_that_is_not_there_is_a_failure_with_its_code(self):
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('skip: no /dev/kvm')
        self.tpm.kill()
        self.tpm.wait()
        os.unlink(self.path)
        done = self.run_builtin()
        self.assertEqual(done.returncode, 1)
        self.assertIn('HF-0211', done.stderr)

    def test_a_socket_that_is_no_tpms_is_a_failure_with_its_code(self):
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('skip: no /dev/kvm')
        other = os.path.join(self.place, 'other.sock')
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(other)
            listener.listen()
            run = subprocess.Popen([HOLDFAST, 'run', '--builtin', '--memory-encryption', 'none', '--vtpm', f'socket={other}'],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            peer, _ = listener.accept()
            peer.sendall(b'\0\0\0\x1f')
            self.assertIn('HF-0211', run.communicate(timeout=DEADLINE)[1])
            peer.close()

    def test_bad_values_of_the_flag(self):
        for value in ('maybe', 'socket=', 'socket=' + 'x' * 108, '/run/tpm'):
            done = self.holdfast('run', '--builtin', '--vtpm', value)
            self.assertEqual(done.returncode, 2, value)
            self.assertIn('HF-0104', done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2, argv=[sys.argv[0], *sys.argv[1:]])
