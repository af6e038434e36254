# SPDX-License-Identifier: Apache-2.0
"""What changes the host itself, in the emulated one: <hostdev> by the device policy (an NVMe in Debian 6.12 under libvirt, and
the hook that refuses), and AppArmor."""
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
for place in ('linux', 'iommu'):
    sys.path.insert(0, str(HERE.parent / place))
import daemon
from devices import audited, driver
from domains import builtin, linux
from virsh_case import Domains

NVME, EDU = '0000:01:00.0', '0000:02:00.0'
POLICY = pathlib.Path('/etc/holdfast/devices.toml')


def hostdev(address, managed):
    domain, bus, rest = address.split(':')
    slot, function = rest.split('.')
    return (f'<hostdev mode="subsystem" type="pci" managed="{managed}"><source><address domain="0x{domain}" bus="0x{bus}" '
            f'slot="0x{slot}" function="0x{function}"/></source></hostdev>')


class Devices(Domains):
    hide_qemu = False  # the hook is asked for its domains too

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        subprocess.run(['modprobe', 'nvme'], check=True)
        cls.installed = cls.libvirtd.holdfast('libvirt', 'install', '--yes')
        # A hook that was not there when libvirtd started is not looked for.
        cls.libvirtd.stop()
        cls.libvirtd.start()

    def setUp(self):
        self.assertEqual(self.installed.returncode, 0, self.installed.stderr)
        if driver(NVME) == 'vfio-pci':  # of a case that failed
            self.libvirtd.holdfast('device', 'unbind', NVME)
        self.allow(NVME)

    def allow(self, *addresses):
        POLICY.parent.mkdir(exist_ok=True)
        POLICY.write_text(''.join(f'[[device]]\naddress = "{address}"\n' for address in addresses))

    def uses_the_nvme(self, name):
        console = self.terminal(name)
        console.ready()
        console.sh('i=0; while [ ! -b /dev/nvme0n1 ] && [ $i -lt 300 ]; do usleep 100000; i=$((i+1)); done')
        console.sh('dd if=/dev/urandom of=/tmp/data bs=64k count=4 && dd if=/tmp/data of=/dev/nvme0n1 bs=64k oflag=direct')
        console.sh('dd if=/dev/nvme0n1 of=/tmp/back bs=64k count=4 iflag=direct && cmp /tmp/data /tmp/back')
        self.assertEqual(console.sh('cat /sys/bus/pci/devices/0000:00:04.0/iommu_group/type'), 'DMA')

    def is_given_back(self):
        daemon.until(lambda: driver(NVME) == 'nvme', 'its own driver again')

    def test_a_device_that_libvirt_takes_from_its_driver_and_gives_back(self):
        name = self.start(linux('managed', kernel='vmlinux-6.12', devices=hostdev(NVME, 'yes')))
        self.assertEqual(driver(NVME), 'vfio-pci')
        self.uses_the_nvme(name)
        self.virsh('destroy', name)
        self.is_given_back()
        events = [event['event'] for event in audited(pathlib.Path('/var/lib/holdfast/devices/audit.log'))]
        self.assertIn('opened', events)
        self.assertIn('granted', events)

    def test_a_device_that_holdfast_has_bound(self):
        self.assertEqual(self.libvirtd.holdfast('device', 'bind', NVME).returncode, 0)
        # libvirt goes on to believe that the device was on vfio-pci before it came.
        self.addCleanup(self.libvirtd.start)
        self.addCleanup(self.libvirtd.stop)
        self.addCleanup(self.libvirtd.holdfast, 'device', 'unbind', NVME)
        name = self.start(linux('bound', kernel='vmlinux-6.12', devices=hostdev(NVME, 'no')))
        self.uses_the_nvme(name)
        self.virsh('shutdown', name, '--mode', 'acpi')
        self.becomes(name, 'shut off (shutdown)')
        self.assertEqual(driver(NVME), 'vfio-pci')

    def test_the_hook_refuses_before_a_driver_loses_its_device(self):
        self.allow(EDU)
        self.refused(linux('unruled', kernel='vmlinux-6.12', devices=hostdev(NVME, 'yes')), 'HF-0703', 'no-rule', NVME)
        self.assertEqual(driver(NVME), 'nvme')

    def test_the_hook_refuses_qemu_s_domains_too(self):
        self.allow(EDU)
        text = linux('qemu', kernel='vmlinux-6.12', devices=hostdev(NVME, 'yes'))
        text = text.replace(str(daemon.EMULATOR), '/usr/bin/qemu-system-x86_64').replace('type="kvm"', 'type="qemu"', 1)
        text = text[:text.index('<qemu:commandline>')] + '</domain>'
        self.refused(text, 'HF-0703', 'no-rule', NVME)
        self.assertEqual(driver(NVME), 'nvme')

    def test_the_adapter_refuses_where_there_is_no_hook(self):
        hook = self.libvirtd.inside('mv', '/etc/libvirt/hooks/qemu.d/holdfast', '/etc/libvirt/hooks/')
        subprocess.run(hook, check=True)
        self.addCleanup(subprocess.run, self.libvirtd.inside('mv', '/etc/libvirt/hooks/holdfast', '/etc/libvirt/hooks/qemu.d/'), check=True)
        self.allow(EDU)
        self.refused(linux('unhooked', kernel='vmlinux-6.12', devices=hostdev(NVME, 'yes')), 'HF-0703', 'no-rule')
        self.is_given_back()

    def test_a_policy_that_cannot_be_read_stops_nobody_who_wants_no_device(self):
        POLICY.write_text('[[device]\n')
        name = self.start(linux('plain', kernel='vmlinux-6.12'))
        # A libvirtd that finds its guests again asks the hook, which must say yes.
        self.libvirtd.stop()
        self.libvirtd.start()
        self.becomes(name, 'running (booted)')
        other = self.virsh('start', self.define(linux('wanting', kernel='vmlinux-6.12', devices=hostdev(NVME, 'yes'))), check=False)
        self.assertIn('HF-0701', other.stderr)


class Confined(Domains):
    """AppArmor confines libvirtd and its domains here, as Debian has it. What `holdfast libvirt install` writes lets ours run."""
    conf = daemon.QEMU_CONF.replace('security_driver = "none"', 'security_driver = "apparmor"')

    profiles = [f'/etc/apparmor.d/{name}' for name in ('usr.sbin.libvirtd', 'usr.lib.libvirt.virt-aa-helper', 'usr.bin.passt')]

    @classmethod
    def setUpClass(cls):
        cls.load()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        subprocess.run(['apparmor_parser', '--remove', *cls.profiles], check=True)

    @classmethod
    def load(cls):
        subprocess.run(['apparmor_parser', '--replace', '--skip-cache', *cls.profiles], check=True)

    def profile_of(self, pid):
        return pathlib.Path(f'/proc/{pid}/attr/current').read_text()

    def test_domains(self):
        for words in ('add up0 type dummy', 'set up0 up'):
            subprocess.run(['ip', 'link', *words.split()], check=True)
        for words in ('addr add 10.77.0.2/24 dev up0', 'route add default via 10.77.0.1'):
            subprocess.run(['ip', *words.split()], check=True)
        text = builtin('confined', tier='software', devices='<interface type="user"><model type="virtio"/></interface>')
        self.refused(text)
        self.assertIn('holdfast libvirt install', self.libvirtd.holdfast('libvirt', 'check').stdout)
        installed = self.libvirtd.holdfast('libvirt', 'install', '--yes')
        self.assertEqual(installed.returncode, 0, installed.stderr)
        self.load()
        name = self.start(text)
        self.terminal(name).expect('spinning')
        self.assertRegex(self.profile_of(self.adapter(name)), r'^libvirt-[0-9a-f-]{36} \(enforce\)$')
        passt = [pid for program, pid in self.processes(name).items() if program.startswith('passt')]
        self.assertEqual([self.profile_of(pid) for pid in passt], ['passt (enforce)\n'])
        self.virsh('destroy', name)


if __name__ == '__main__':
    unittest.main(verbosity=2)
