# SPDX-License-Identifier: Apache-2.0
"""A domain's monitor without a libvirt, when messages come at bad moments."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import daemon
from daemon import until

sys.path.insert(0, str(daemon.TREE / 'tests/linux'))
os.environ.setdefault('HOLDFAST_GUESTS', '{}')
from vm import children_of


POLL = 7  # the number of this system call


class Domain:
    """holdfast-qemu as libvirt starts it, with the built-in guest."""

    def __init__(self, directory, job):
        path = f'{directory}/monitor'
        environment = {'PATH': os.environ['PATH'], 'HOLDFAST_STATE_DIR': directory, 'HOLDFAST_MEMORY_ENCRYPTION': 'none',
                       'HOLDFAST_BUILTIN': 'on', 'HOLDFAST_CMDLINE': job}
        words = ['-name', 'guest=box', '-S', '-machine', 'q35', '-accel', 'kvm', '-m', 'size=16M', '-smp', '1', '-no-shutdown',
                 '-qmp', f'unix:{path},server=on,wait=off']
        self.process = subprocess.Popen([daemon.EMULATOR, *words], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(path), path)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(daemon.DEADLINE)
        self.socket.connect(path)
        self.lines = self.socket.makefile('r')
        self.lines.readline()
        self.ask('qmp_capabilities')
        self.next()

    def ask(self, command):
        self.socket.sendall((json.dumps({'execute': command}) + '\n').encode())

    def next(self):
        """'return', 'error' or the name of an event."""
        message = json.loads(self.lines.readline())
        return message.get('event') or next(word for word in ('return', 'error') if word in message)

    def event(self, name):
        while self.next() != name:
            pass

    def vmm(self):
        run = children_of(self.process.pid).get('holdfast')
        return run and children_of(run).get('holdfast-vmm')

    def close(self):
        self.lines.close()
        self.socket.close()
        self.process.terminate()
        self.process.wait(daemon.DEADLINE)


class Monitor(unittest.TestCase):
    def setUp(self):
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('skip: no /dev/kvm')
        directory = tempfile.TemporaryDirectory(prefix='holdfast-test-')
        self.addCleanup(directory.cleanup)
        self.place = directory.name

    def test_an_event_that_comes_with_an_answer_is_told(self):
        domain = Domain(self.place, 'job=spin count=20000000000')  # some seconds, then power-off
        self.addCleanup(domain.close)
        domain.ask('cont')
        domain.event('return')
        vmm = domain.vmm()
        os.kill(vmm, signal.SIGSTOP)
        domain.ask('query-status')
        syscall = pathlib.Path(f'/proc/{domain.process.pid}/syscall')
        until(lambda: syscall.read_text().startswith(f'{POLL} '), 'the adapter waits for the answer')
        domain.process.send_signal(signal.SIGSTOP)
        os.kill(vmm, signal.SIGCONT)
        until(lambda: not os.path.exists(f'/proc/{vmm}'), 'the end of the VM')
        # The answer, the last event and the end of the socket are there when the adapter looks again.
        domain.process.send_signal(signal.SIGCONT)
        self.assertEqual({domain.next(), domain.next()}, {'return', 'SHUTDOWN'})


class Refusal(unittest.TestCase):
    """libvirt shows a domain's log to its user only if the process is gone when the monitor ends."""

    def refused(self, *words, **settings):
        with tempfile.TemporaryDirectory(prefix='holdfast-test-') as place, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f'{place}/monitor')
            listener.listen(1)
            environment = {'PATH': os.environ['PATH'], 'HOLDFAST_STATE_DIR': place, **settings}
            monitor = ['-chardev', f'socket,id=charmonitor,fd={listener.fileno()},server=on,wait=off',
                       '-mon', 'chardev=charmonitor,id=monitor,mode=control']
            command = [daemon.EMULATOR, '-name', 'guest=box', '-S', '-machine', 'q35', '-accel', 'kvm', '-m', 'size=16M', '-smp', '1', *monitor, *words]
            with subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()], stderr=subprocess.PIPE, text=True) as process:
                listener.close()
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(daemon.DEADLINE)
                    client.connect(f'{place}/monitor')
                    client.sendall(b'{"execute": "qmp_capabilities"}')
                    with self.assertRaises(ConnectionResetError):
                        client.recv(1)
                self.assertIsNotNone(os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
                said = process.communicate(timeout=daemon.DEADLINE)[1]
            self.assertEqual(process.returncode, 1)
            return said

    def test_of_a_command_line(self):
        self.assertIn('no-such-device', self.refused('-device', 'no-such-device'))

    def test_of_a_vm(self):
        # The kernel file that is not there, or first of all that /dev/kvm is not.
        self.assertRegex(self.refused('-kernel', '/no/kernel', HOLDFAST_MEMORY_ENCRYPTION='none'), 'holdfast: HF-0(201|3)')


if __name__ == '__main__':
    unittest.main(verbosity=2)
