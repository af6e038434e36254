# SPDX-License-Identifier: Apache-2.0
"""QEMU's domains under libvirt with an external TPM of ours: started, rebooted, stopped, saved, restored, and refused
when what is put back is old."""
import os
import pathlib
import re
import shutil
import sys
import unittest

import guest
from tpm_client import *

for folder in ('libvirt', 'anchor'):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / folder))
import daemon
from vtpm_test import Host

guest.need(*guest.PROGRAMS, *daemon.PROGRAMS, 'swtpm_setup')  # libvirt offers no TPM without swtpm's tools
BOOT = 240  # seconds; a guest under TCG, beside whatever else this machine does


class Libvirt(VtpmTest):
    job = 'guest_job'

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest('skip: no root')
        self.kernel, self.initramfs = guest.make(self.dir, pathlib.Path(__file__).with_name(self.job))
        self.console = self.dir / 'console.log'
        libvirtd = daemon.Daemon(self.dir, hide_qemu=False)
        self.addCleanup(libvirtd.close)
        self.virsh = libvirtd.virsh

    def wait_for(self, holds, what):
        return daemon.until(holds, what, BOOT)

    def define(self):
        domain = self.dir / 'domain.xml'
        domain.write_text(f'''<domain type="qemu"><name>box</name><memory unit="MiB">512</memory>
            <os><type arch="x86_64" machine="q35">hvm</type><kernel>{self.kernel}</kernel><initrd>{self.initramfs}</initrd>
              <cmdline>console=ttyS0 quiet hf.hold</cmdline></os>
            <features><acpi/></features><cpu mode="maximum"/>
            <devices><serial type="file"><source path="{self.console}" append="on"/></serial>
              <tpm model="tpm-crb"><backend type="external"><source type="unix" mode="connect" path="{self.socket}"/></backend></tpm>
              <memballoon model="none"/></devices></domain>''')
        self.virsh('define', str(domain))

    def said(self):
        return self.console.read_text(errors='replace') if self.console.exists() else ''


class Lives(Libvirt):
    def boots(self):
        """The counter of each boot whose job is done."""
        return re.findall('TPM: counter ([0-9a-f]+).*?TPM: lockout', self.said(), re.DOTALL)

    def test_domain_with_an_external_tpm(self):
        served = self.serve()
        self.define()
        self.virsh('start', 'box')
        self.wait_for(lambda: len(self.boots()) == 1, 'first boot')
        self.virsh('reset', 'box')
        self.wait_for(lambda: len(self.boots()) == 2, 'boot after a reset')
        self.virsh('shutdown', 'box', '--mode', 'acpi')
        self.wait_for(lambda: 'shut off' in self.virsh('domstate', 'box'), 'shutdown')
        self.virsh('start', 'box')
        self.wait_for(lambda: len(self.boots()) == 3, 'boot after a stop')
        self.virsh('destroy', 'box')
        self.virsh('undefine', 'box')
        counters = [int(boot, 16) for boot in self.boots()]
        self.assertEqual(counters, list(range(counters[0], counters[0] + 3)))
        self.assertNotIn('not ok', self.said())
        self.assertEqual(served.stop(), 0)


class Saved(Libvirt):
    """The guest tells again and again what is in a PCR that it has extended once."""
    job = 'guest_job_saved'

    def told(self):
        """[(how often so far, the PCR)]"""
        return re.findall(r'TPM: (\d+) (0x[0-9A-F]{64})', self.said())

    def more(self):
        """What is told from now on: the first."""
        before = len(self.told())
        self.wait_for(lambda: len(self.told()) > before, 'the guest tells its PCR')
        return self.told()[before]

    def start(self):
        self.define()
        self.virsh('start', 'box')
        return self.more()

    def test_what_was_saved_is_restored_once(self):
        self.serve()
        saved, kept = self.dir / 'saved', self.dir / 'kept'
        _, pcr = self.start()
        self.assertNotEqual(int(pcr, 16), 0)
        self.virsh('save', 'box', str(saved))
        shutil.copy(saved, kept)
        count = len(self.told())
        self.virsh('restore', str(saved))
        again = self.more()
        self.assertEqual(again[1], pcr)
        self.assertGreater(int(again[0]), count, 'the guest has booted instead')
        self.virsh('destroy', 'box')
        # Put back by whoever keeps the file: the TPM has gone on since.
        refused = self.virsh('restore', str(kept), check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn('shut off', self.virsh('domstate', 'box'))
        self.virsh('start', 'box')
        self.assertEqual(self.more(), ('1', pcr))

    def test_an_anchored_tpm_is_not_saved_and_not_rolled_back(self):
        host = Host(self, self.dir / 'host')
        host.init()
        host.serve_anchor()
        host.verb('vtpm', 'create', 'box')
        self.state = host.state
        served = self.serve()
        old = self.dir / 'old-state'
        shutil.copy(self.file(), old)
        self.start()
        self.assertNotEqual(self.virsh('save', 'box', str(self.dir / 'saved'), check=False).returncode, 0)
        self.assertIn('running', self.virsh('domstate', 'box'))
        self.more()
        self.virsh('destroy', 'box')
        self.assertEqual(served.stop(), 0)
        shutil.copy(old, self.file())
        self.assertIn('HF-05', host.verb('vtpm', 'serve', 'box', '--socket', self.socket, status=1).stderr)
        self.assertNotEqual(self.virsh('start', 'box', check=False).returncode, 0)


if __name__ == '__main__':
    unittest.main(verbosity=2)
