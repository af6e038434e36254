# SPDX-License-Identifier: Apache-2.0
"""libvirt with an external TPM: a domain is defined, started, rebooted, stopped and started again."""
import os
import re
import shutil
import signal
import subprocess
import unittest

import pathlib
import select

import guest
from tpm_client import *

guest.need(*guest.PROGRAMS, 'virsh', 'libvirtd', 'swtpm_setup', 'unshare', 'nsenter')  # libvirt offers no TPM without swtpm's tools
BOOT = 240  # seconds; a guest under TCG, beside whatever else this machine does
QEMU_CONF = '''security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
'''


class Libvirt(VtpmTest):
    """A libvirtd of its own: everything it writes is in this test's directory."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest('skip: no root')
        self.kernel, self.initramfs = guest.make(self.dir, pathlib.Path(__file__).with_name('guest_job'))
        self.console = self.dir / 'console.log'
        os.chmod(self.dir, 0o755)
        # A mount namespace of its own: this daemon sees and writes none of the machine's libvirt.
        (self.dir / 'qemu.conf').write_text(QEMU_CONF)
        places = ' '.join(f'/{place}/libvirt' for place in ('etc', 'run', 'var/lib', 'var/cache', 'var/log'))
        script = f"""set -e
            for place in {places}; do mkdir -p $place; mount -t tmpfs none $place; done
            cp {self.dir}/qemu.conf /etc/libvirt/
            exec libvirtd"""
        self.daemon_log = open(self.dir / 'libvirtd.log', 'wb')
        self.addCleanup(self.daemon_log.close)
        self.daemon = subprocess.Popen(['unshare', '--mount', 'sh', '-c', script], stdin=subprocess.DEVNULL,
                                       stdout=self.daemon_log, stderr=self.daemon_log)
        self.addCleanup(self.end_daemon)
        socket_path = pathlib.Path(f'/proc/{self.daemon.pid}/root/run/libvirt/libvirt-sock')
        self.wait_for(lambda: self.daemon.poll() is not None or socket_path.exists(), 'libvirtd')

    def end_daemon(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(DEADLINE)

    def wait_for(self, holds, what):
        for _ in range(BOOT * 10):
            if holds():
                return
            select.select([], [], [], 0.1)
        raise TimeoutError(what)

    def virsh(self, *arguments):
        done = subprocess.run(['nsenter', '-t', str(self.daemon.pid), '-m', 'virsh', '-q', '-c', 'qemu:///system', *arguments],
                              capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, 0, f'{arguments}: {done.stderr} {(self.dir / "libvirtd.log").read_text()}')
        return done.stdout

    def boots(self):
        """The counter of each boot whose job is done."""
        console = self.console.read_text(errors='replace') if self.console.exists() else ''
        return re.findall('TPM: counter ([0-9a-f]+).*?TPM: lockout', console, re.DOTALL)

    def test_domain_with_an_external_tpm(self):
        served = self.serve()
        domain = self.dir / 'domain.xml'
        domain.write_text(f'''<domain type="qemu"><name>box</name><memory unit="MiB">512</memory>
            <os><type arch="x86_64" machine="q35">hvm</type><kernel>{self.kernel}</kernel><initrd>{self.initramfs}</initrd>
              <cmdline>console=ttyS0 quiet hf.hold</cmdline></os>
            <features><acpi/></features><cpu mode="maximum"/>
            <devices><serial type="file"><source path="{self.console}" append="on"/></serial>
              <tpm model="tpm-crb"><backend type="external"><source type="unix" mode="connect" path="{self.socket}"/></backend></tpm>
              <memballoon model="none"/></devices></domain>''')
        self.virsh('define', str(domain))
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
        self.assertNotIn('not ok', self.console.read_text(errors='replace'))
        self.assertEqual(served.stop(), 0)


if __name__ == '__main__':
    unittest.main(verbosity=2)
