# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: a private place with the programs in it, and a look at
what a launch has left behind."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

HOLDFAST = os.environ['HOLDFAST']          # build/holdfast
STAND_IN = os.environ.get('STAND_IN', '')  # tests/cli/stand_in, or nothing: the real programs
DEADLINE = 60
# Launches open it even where stand-ins take the place of the VM's processes. tests/host/kvm_test runs these too.
needs_kvm = unittest.skipUnless(os.access('/dev/kvm', os.R_OK | os.W_OK), 'skip: no /dev/kvm')


def children_of(pid):
    """All descendants of a process, by number."""
    found = []
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open(f'/proc/{entry}/stat') as stat:
                parent = int(stat.read().rpartition(')')[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found += [int(entry)] + children_of(int(entry))
    return found


def wait_until(holds, what):
    """For things of other processes that offer nothing to wait on."""
    deadline = time.monotonic() + DEADLINE
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f'{what}: not within {DEADLINE} s')
        time.sleep(0.01)


class CliTest(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.mkdtemp(prefix='hf-')
        self.state = os.path.join(self.place, 'state')
        self.bin = os.path.join(self.place, 'bin')
        os.mkdir(self.bin)
        self.holdfast = HOLDFAST
        if STAND_IN:
            self.holdfast = shutil.copy(HOLDFAST, self.bin)
            for name in ('holdfast-vmm', 'holdfast-io'):
                shutil.copy(STAND_IN, os.path.join(self.bin, name))
        self.kernel = self.file('kernel', b'stands in for a kernel')

    def tearDown(self):
        for name in self.vms():
            subprocess.run([self.holdfast, '--state-dir', self.state, 'kill', name], capture_output=True)
        shutil.rmtree(self.place)

    def file(self, name, content=b''):
        path = os.path.join(self.place, name)
        with open(path, 'wb') as out:
            out.write(content)
        return path

    def cli(self, *arguments, stdin=b'', env=None):
        return subprocess.run([self.holdfast, '--state-dir', self.state, *arguments], input=stdin,
                              capture_output=True, timeout=DEADLINE, env=env, cwd=self.place)

    def start(self, *arguments, **options):
        return subprocess.Popen([self.holdfast, '--state-dir', self.state, *arguments], cwd=self.place,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                **options)

    def guest(self, do, *more):
        """The flags of a run whose guest does this."""
        if STAND_IN:
            return ['--kernel', self.kernel, '--cmdline', f'do={do}', *more]
        jobs = {'poweroff': 'job=hello', 'idle': 'job=spin'}
        return ['--builtin', '--cmdline', jobs[do], *more]

    def status(self, name):
        return json.loads(self.cli('status', name, '--json').stdout)

    def vms(self):
        run = os.path.join(self.state, 'run')
        return sorted(os.listdir(run)) if os.path.isdir(run) else []

    def assert_failure(self, result, code, status=1):
        """Three lines with the code, and nothing left behind."""
        self.assertEqual(result.returncode, status, result.stderr)
        lines = result.stderr.decode().splitlines()
        lines = [line for line in lines if not re.search(': memory encryption (none|software)', line)]
        self.assertEqual(len(lines), 3, lines)
        self.assertTrue(lines[0].startswith(f'holdfast: {code}: '), lines)
        self.assertTrue(lines[1].startswith('  why: ') and lines[2].startswith('  fix: '), lines)
        self.assertEqual(result.stdout, b'')
        self.assertEqual(self.vms(), [])
