# SPDX-License-Identifier: Apache-2.0
"""QEMU's tpm-crb and tpm-tis with a Linux guest that uses its TPM, against `holdfast vtpm serve`."""
import json
import os
import re
import socket
import subprocess
import unittest

import pathlib
import select
import tempfile

import guest
from tpm_client import *

guest.need(*guest.PROGRAMS)
WANTED = {'devices', 'getrandom', 'extend', 'pcrread', 'primary', 'policy', 'seal', 'load', 'unseal', 'nvincrement',
          'quote', 'ek_certificate'}
BOOT = 240  # seconds; a guest under TCG, beside whatever else this machine does


class Qemu(VtpmTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.images = tempfile.TemporaryDirectory(prefix='vtpm-guest-')
        cls.kernel, cls.initramfs = guest.make(cls.images.name, pathlib.Path(__file__).with_name('guest_job'))

    @classmethod
    def tearDownClass(cls):
        cls.images.cleanup()
        super().tearDownClass()

    def arguments(self, device, path, *more):
        return ['qemu-system-x86_64', '-M', 'q35', '-accel', 'tcg', '-cpu', 'max', '-m', '512', '-nodefaults',
                '-no-user-config', '-nographic', '-no-reboot', '-serial', 'stdio', '-kernel', self.kernel, '-initrd',
                self.initramfs, '-chardev', f'socket,id=tpm,path={path}', '-tpmdev', 'emulator,id=tpm0,chardev=tpm',
                '-device', f'{device},tpmdev=tpm0', *more]

    def guest(self, device, append=''):
        done = subprocess.run(self.arguments(device, self.socket, '-append', f'console=ttyS0 quiet {append}'),
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT)
        console = done.stdout.decode(errors='replace')
        self.assertEqual(done.returncode, 0, done.stderr.decode() + console)
        good, rest = guest.results(console)
        self.assertEqual(good & WANTED, WANTED, console[-4000:])
        return int(next(line for line in rest if line.startswith('counter')).split()[1], 16), rest

    def device(self, model):
        with self.serve() as served:
            first, _ = self.guest(model)
            second, said = self.guest(model)  # SHUTDOWN, and the next client of the same server
            self.assertEqual(second, first + 1)
            self.assertIn('lockout TPM2_PT_LOCKOUT_COUNTER:0x0', said)
            self.assertEqual(served.stop(), 0)
        self.assertNotIn('dropped', served_errors(served))

    def test_crb(self):
        self.device('tpm-crb')

    def test_tis(self):
        self.device('tpm-tis')

    def test_reset_is_a_new_boot_of_the_same_tpm(self):
        self.serve()
        qemu = Monitored(self, self.arguments('tpm-crb', self.socket, '-append', 'console=ttyS0 quiet hf.hold'))
        qemu.until('TPM: lockout')
        qemu.command('system_reset')
        qemu.until('TPM: lockout')
        counters = re.findall('TPM: counter ([0-9a-f]+)', qemu.console)
        self.assertEqual(int(counters[1], 16), int(counters[0], 16) + 1)
        self.assertNotIn('not ok', qemu.console)
        qemu.command('quit')
        self.assertEqual(qemu.process.wait(DEADLINE), 0)

    def test_migration_takes_the_tpm_along(self):
        self.serve()
        append = ['-append', 'console=ttyS0 quiet hf.hold']
        there = self.dir / 'there.sock'
        self.serve('--incoming', path=there)
        source = Monitored(self, self.arguments('tpm-crb', self.socket, *append))
        source.until('TPM: lockout')
        migration = f'unix:{self.dir}/migration.sock'
        target = Monitored(self, self.arguments('tpm-crb', there, *append, '-incoming', migration))
        source.command('migrate', uri=migration)
        source.until_status('completed')
        target.until_running()
        source.command('quit')
        self.assertEqual(source.process.wait(DEADLINE), 0)
        target.command('system_reset')
        target.until('TPM: lockout')
        self.assertNotIn('not ok', target.console)
        first = int(re.search('TPM: counter ([0-9a-f]+)', source.console)[1], 16)
        self.assertEqual(int(re.search('TPM: counter ([0-9a-f]+)', target.console)[1], 16), first + 1)
        target.command('quit')
        self.assertEqual(target.process.wait(DEADLINE), 0)


def served_errors(served):
    return '' if served.log.closed else served.errors()


class Monitored:
    """A QEMU with its QMP socket and its console's text."""

    def __init__(self, test, arguments):
        ours, theirs = socket.socketpair()
        arguments = [word for word in arguments if word != '-no-reboot']
        self.process = subprocess.Popen(
            [*arguments, '-chardev', f'socket,id=qmp,fd={theirs.fileno()}', '-mon', 'chardev=qmp,mode=control'],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        theirs.close()
        test.addCleanup(self.process.stdout.close)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)
        self.qmp = ours.makefile('rw')
        ours.settimeout(BOOT)
        self.console = ''
        self.seen = 0
        self.qmp.readline()
        self.command('qmp_capabilities')

    def command(self, name, **arguments):
        self.qmp.write(json.dumps({'execute': name, 'arguments': arguments}) + '\n')
        self.qmp.flush()
        while True:
            answer = json.loads(self.qmp.readline())
            if 'error' in answer:
                raise RuntimeError(answer)
            if 'return' in answer:
                return answer['return']

    def until(self, text):
        """Reads the console until it says so once more."""
        while text not in self.console[self.seen:]:
            if not select.select([self.process.stdout], [], [], BOOT)[0]:
                raise TimeoutError(self.console[-3000:])
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise EOFError(self.console[-3000:])
            self.console += more.decode(errors='replace')
        self.seen = self.console.index(text, self.seen) + len(text)

    def until_status(self, wanted):
        while (status := self.command('query-migrate').get('status')) != wanted:
            if status == 'failed':
                raise RuntimeError(self.command('query-migrate'))
            select.select([], [], [], 0.05)

    def until_running(self):
        while not self.command('query-status')['running']:
            select.select([], [], [], 0.05)


if __name__ == '__main__':
    unittest.main(verbosity=2)
