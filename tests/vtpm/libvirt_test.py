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

guest.need(*guest.PROGRAMS, 'virsh', 'libvirtd', 'virtlogd')
BOOT = 900  # a guest under TCG, beside whatever else this machine does
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
        # A session daemon reads its configuration below XDG_CONFIG_HOME and keeps to these directories.
        home = self.dir / 'home'
        (home / 'config/libvirt').mkdir(parents=True)
        (home / 'config/libvirt/qemu.conf').write_text(QEMU_CONF)
        (home / 'run').mkdir()
        self.environment = {**os.environ, 'HOME': str(home), 'XDG_CONFIG_HOME': str(home / 'config'),
                            'XDG_RUNTIME_DIR': str(home / 'run'), 'XDG_CACHE_HOME': str(home / 'cache'),
                            'XDG_STATE_HOME': str(home / 'state'), 'XDG_DATA_HOME': str(home / 'data')}
        self.uri = 'qemu:///session'
        socket_path = home / 'run/libvirt/libvirt-sock'
        self.daemon = subprocess.Popen(['libvirtd'], env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(self.end_daemon)
        self.wait_for(socket_path.exists, 'libvirtd')

    def end_daemon(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(DEADLINE)
        self.daemon.stderr.close()

    def wait_for(self, holds, what):
        for _ in range(BOOT * 10):
            if holds():
                return
            select.select([], [], [], 0.1)
        raise TimeoutError(what)

    def virsh(self, *arguments):
        done = subprocess.run(['virsh', '-q', '-c', self.uri, *arguments], env=self.environment, capture_output=True,
                              text=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, 0, f'{arguments}: {done.stderr}')
        return done.stdout

    def boots(self):
        return re.findall('TPM: counter ([0-9a-f]+)', self.console.read_text(errors='replace') if self.console.exists() else '')

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
