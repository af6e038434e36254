# SPDX-License-Identifier: Apache-2.0
"""The capability probe: as the real libvirt asks it, and as it was recorded (probe.txt) without a libvirt.

probe_test.py --record writes probe.txt anew from what libvirtd asks and is answered.
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import daemon

TRANSCRIPT = pathlib.Path(__file__).with_name('probe.txt')
PROBE = ['-S', '-no-user-config', '-nodefaults', '-nographic', '-machine', 'none,accel=kvm:tcg', '-daemonize']


class Probe:
    """holdfast-qemu started as libvirt starts it to ask what it can do."""

    def __init__(self, directory):
        self.path, pid_file = directory + '/monitor', directory + '/pid'
        subprocess.run([daemon.EMULATOR, *PROBE, '-qmp', f'unix:{self.path},server=on,wait=off', '-pidfile', pid_file],
                       check=True, stdin=subprocess.DEVNULL, timeout=daemon.DEADLINE)
        self.pid = int(pathlib.Path(pid_file).read_text())
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(daemon.DEADLINE)
        self.socket.connect(self.path)
        self.stream = self.socket.makefile('rw')
        self.greeting = json.loads(self.stream.readline())

    def ask(self, message):
        self.stream.write(json.dumps(message) + '\n')
        self.stream.flush()
        return json.loads(self.stream.readline())

    def close(self):
        self.stream.close()
        self.socket.close()

    def end(self):
        pidfd = os.pidfd_open(self.pid)
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        ended = daemon.select.select([pidfd], [], [], daemon.DEADLINE)[0]
        os.close(pidfd)
        return bool(ended)


def asked_by_libvirt(log):
    """[(message, answer)] of the first probe of our emulator in a log of libvirtd's."""
    text = re.findall(r'QEMU_MONITOR_(?:SEND_MSG.*? msg|RECV_REPLY.*? reply)=(\{.*)', log)
    probes = []
    for question, answer in zip(text[::2], text[1::2]):
        question, answer = json.loads(question), json.loads(answer)
        if question['execute'] == 'qmp_capabilities':
            probes.append([])
        probes[-1].append((question, answer))
    return next(probe for probe in probes if 'Holdfast' in json.dumps(probe[1]))


def probed(directory):
    """libvirtd's log after it has probed; the daemon is gone."""
    libvirtd = daemon.Daemon(directory)
    try:
        libvirtd.virsh('domcapabilities', '--emulatorbin', str(daemon.EMULATOR), check=False)
        caches = subprocess.run(libvirtd.inside('sh', '-c', 'cat /var/cache/libvirt/qemu/capabilities/*.xml'), capture_output=True, text=True)
        domain = libvirtd.virsh('domcapabilities', '--emulatorbin', str(daemon.EMULATOR), check=False)
    finally:
        libvirtd.close()
    return libvirtd.log(), caches.stdout, domain


class Recorded(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='holdfast-test-')
        self.addCleanup(directory.cleanup)
        self.probe = Probe(directory.name)
        self.addCleanup(self.probe.close)

    def test_each_recorded_question_is_answered_as_it_was(self):
        lines = [json.loads(line) for line in TRANSCRIPT.read_text().splitlines()]
        self.assertGreater(len(lines), 40)
        for question, answer in zip(lines[::2], lines[1::2]):
            self.assertEqual(self.probe.ask(question), answer, question)
        self.assertTrue(self.probe.end())

    def test_each_advertised_name_is_answered_for(self):
        self.assertEqual(self.probe.greeting['QMP']['version']['qemu']['major'], 10)
        early = self.probe.ask({'execute': 'query-version'})
        self.assertEqual(early['error']['class'], 'CommandNotFound')
        self.probe.ask({'execute': 'qmp_capabilities'})
        again = self.probe.ask({'execute': 'qmp_capabilities'})
        self.assertEqual(again['error']['class'], 'CommandNotFound')
        for kind in self.probe.ask({'execute': 'qom-list-types'})['return']:
            answer = self.probe.ask({'execute': 'device-list-properties', 'arguments': {'typename': kind['name']}})
            self.assertIsInstance(answer['return'], list, kind)
        unknown = self.probe.ask({'execute': 'device-list-properties', 'arguments': {'typename': 'virtio-gpu-pci'}})
        self.assertEqual(unknown['error']['class'], 'DeviceNotFound')
        commands = [command['name'] for command in self.probe.ask({'execute': 'query-commands'})['return']]
        schema = {entry['name'] for entry in self.probe.ask({'execute': 'query-qmp-schema'})['return'] if entry['meta-type'] == 'command'}
        self.assertEqual(schema - set(commands), {'netdev_add'})  # libvirt reads there which networks there are
        for name in set(commands) - {'quit', 'qmp_capabilities'}:
            answer = self.probe.ask({'execute': name, 'arguments': {'path': '/machine/cpu[0]', 'typename': 'secret', 'property': 'migratable'}, 'id': [name]})
            self.assertEqual(answer['id'], [name])
            # Without a VM there is nobody to carry out what is passed on.
            self.assertTrue('return' in answer or answer['error']['desc'] == 'the VM has ended', answer)
        self.assertEqual(self.probe.ask({'execute': 'no-such-thing'})['error']['class'], 'CommandNotFound')
        self.assertIn('return', self.probe.ask({'execute': 'quit'}))
        self.assertEqual(self.probe.stream.readline(), '')


class Real(unittest.TestCase):
    def setUp(self):
        for program in daemon.PROGRAMS:
            if daemon.shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin') is None:
                self.skipTest(f'skip: no {program}')
        if os.geteuid() != 0:
            self.skipTest('skip: no root')

    def test_libvirt_takes_holdfast_for_an_emulator(self):
        with tempfile.TemporaryDirectory(prefix='holdfast-test-') as directory:
            log, cache, domain = probed(directory)
        for word in ("<flag name='kvm'/>", 'pc-q35-holdfast-1'):
            self.assertIn(word, cache)
        questions = [question['execute'] for question, answer in asked_by_libvirt(log)]
        recorded = [json.loads(line)['execute'] for line in TRANSCRIPT.read_text().splitlines()[::2]]
        self.assertEqual(sorted(set(questions)), sorted(set(recorded)), 'this libvirt asks for something else: record anew')
        if os.path.exists('/dev/kvm'):
            self.assertEqual(domain.returncode, 0, domain.stderr)
            self.assertIn('pc-q35-holdfast-1', domain.stdout)


def record():
    with tempfile.TemporaryDirectory(prefix='holdfast-test-') as directory:
        log, _, _ = probed(directory)
    TRANSCRIPT.write_text(''.join(json.dumps(message) + '\n' for pair in asked_by_libvirt(log) for message in pair))


if __name__ == '__main__':
    record() if sys.argv[1:] == ['--record'] else unittest.main(verbosity=2)
