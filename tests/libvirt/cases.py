# SPDX-License-Identifier: Apache-2.0
"""What virsh does with domains whose emulator is holdfast-qemu. Runs where /dev/kvm runs Linux guests."""
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'linux'))
import daemon
from domains import builtin, linux, xml
from virsh_case import Domains
from vm import shape


class Builtin(Domains):
    def test_a_life_by_virsh(self):
        events = subprocess.Popen(self.libvirtd.inside('stdbuf', '-oL', 'virsh', '-q', 'event', '--all', '--loop'),
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(events.stdout.close)
        self.addCleanup(events.wait)
        self.addCleanup(events.terminate)
        name = self.start(builtin('life', cpus=2))
        self.assertEqual(self.state(name), 'running (booted)')
        self.assertIn(name, self.virsh('list'))
        information = self.virsh('dominfo', name)
        self.assertRegex(information, r'CPU\(s\):\s+2')
        self.assertRegex(information, r'Max memory:\s+65536 KiB')
        console = self.terminal(name)
        console.expect('spinning')
        self.virsh('suspend', name)
        self.assertEqual(self.state(name), 'paused (user)')
        self.virsh('resume', name)
        self.assertEqual(self.state(name), 'running (unpaused)')
        stats = dict(line.strip().split('=') for line in self.virsh('domstats', name).splitlines() if '=' in line)
        self.assertEqual((stats['state.state'], stats['vcpu.current'], stats['balloon.current']), ('1', '2', '65536'))
        memory = json.loads(self.virsh('qemu-monitor-command', name, '{"execute":"query-memcrypt"}'))
        self.assertEqual(memory['return']['tier'], 'none')
        pids = self.processes(name).values()
        console.send('x')  # the job's end is power-off
        self.becomes(name, 'shut off (shutdown)')
        self.no_process_is_left(*pids)
        self.virsh('undefine', name)
        self.assertNotIn(name, self.virsh('list', '--all'))
        seen = ''
        while 'Undefined' not in seen:
            seen += events.stdout.readline()
        for word in ('Started', 'Suspended', 'Resumed', 'Shutdown', 'Stopped'):
            self.assertIn(word, seen)

    def test_the_adapter_is_small(self):
        name = self.start(builtin('small'))
        self.terminal(name).expect('spinning')
        pss = re.search(r'^Pss:\s+(\d+) kB', pathlib.Path(f'/proc/{self.adapter(name)}/smaps_rollup').read_text(), re.MULTILINE)[1]
        print(f'# the adapter: {pss} KiB', flush=True)
        self.assertLessEqual(int(pss), 6 * 1024)

    def test_consoles_of_each_kind(self):
        path = f'{self.dir}/console.sock'
        name = self.define(builtin('socket', serial=f'<serial type="unix"><source mode="bind" path="{path}"/></serial>'))
        self.virsh('start', name, '--paused')
        for _ in range(2):  # a client that leaves makes room for another
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            client.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            self.virsh('resume', name)
            seen = b''
            while b'spinning' not in seen:
                part = client.recv(4096)
                self.assertTrue(part, seen)
                seen += part
            client.sendall(b'x')
            self.becomes(name, 'shut off (shutdown)')
        written = self.dir / 'console.txt'
        name = self.start(builtin('file', job='hello', serial=f'<serial type="file"><source path="{written}"/></serial>'))
        self.becomes(name, 'shut off (shutdown)')
        self.assertIn('JOB: ok', written.read_text())
        name = self.start(builtin('virtual', job='vconsole mode=echo', serial='<console type="pty"><target type="virtio"/></console>'))
        console = self.terminal(name)
        console.send('echoed')
        console.expect('echoed')

    def test_autostart(self):
        name = self.define(builtin('early'))
        self.virsh('autostart', name)
        self.libvirtd.stop()
        self.libvirtd.empty('/run/libvirt/qemu/autostarted')  # what a boot of the host does: libvirt starts a domain once a boot
        self.libvirtd.start()
        self.becomes(name, 'running (booted)')

    def test_destroy_leaves_nothing(self):
        name = self.start(builtin('gone'))
        pids = [self.adapter(name), *self.processes(name).values()]
        self.virsh('destroy', name)
        self.assertEqual(self.state(name), 'shut off (destroyed)')
        self.no_process_is_left(*pids)
        self.assertFalse(os.path.exists('/run/holdfast/gone'))

    def test_the_end_of_the_adapter_is_the_end_of_the_vm(self):
        name = self.start(builtin('orphan'))
        pids = self.processes(name).values()
        os.kill(self.adapter(name), signal.SIGKILL)
        self.no_process_is_left(*pids)
        self.becomes(name, 'shut off (crashed)')

    def test_a_vmm_that_dies_is_a_crash(self):
        name = self.start(builtin('crash'))
        os.kill(self.processes(name)['holdfast-vmm'], signal.SIGKILL)
        self.becomes(name, 'shut off (crashed)')

    def test_tier_software_and_its_window(self):
        name = self.start(builtin('sealed', tier='software', clear_window='8M'))
        pages = json.loads(self.virsh('qemu-monitor-command', name, '{"execute":"query-memcrypt"}'))['return']['pages']
        self.assertEqual(pages['window'] * 4096, 8 << 20)

    def test_guests_outlive_libvirtd(self):
        name = self.start(builtin('survivor'))
        console = self.terminal(name)
        console.expect('spinning')
        pid = self.adapter(name)
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.libvirtd.stop(number)
            self.libvirtd.start()
            self.becomes(name, 'running (booted)')
            self.assertEqual(self.adapter(name), pid)
        self.virsh('suspend', name)
        self.libvirtd.stop(signal.SIGKILL)
        self.libvirtd.start()
        self.assertIn('paused', self.state(name))
        self.virsh('resume', name)
        console.send('x')
        self.becomes(name, 'shut off (shutdown)')

    def test_a_second_start_is_refused_and_the_first_goes_on(self):
        name = self.start(builtin('twice'))
        again = self.virsh('start', name, check=False)
        self.assertNotEqual(again.returncode, 0)
        self.assertIn('already active', again.stderr)
        # Behind libvirt's back: the name is taken in Holdfast too.
        other = self.libvirtd.holdfast('run', name, '--builtin', '--memory-encryption', 'none')
        self.assertIn('HF-0402', other.stderr)
        self.assertEqual(self.state(name), 'running (booted)')

    def test_many_at_once(self):
        names = [self.define(builtin(f'many{i}', memory=16)) for i in range(20 if 'HOLDFAST_LONG' in os.environ else 6)]
        starts = [subprocess.Popen(self.libvirtd.inside('virsh', '-q', 'start', name), stderr=subprocess.PIPE) for name in names]
        for process in starts:
            self.assertEqual(process.wait(daemon.DEADLINE), 0, process.stderr.read())
            process.stderr.close()
        self.assertEqual(set(names) - set(self.virsh('list', '--name').split()), set())
        for name in names:
            with_socket = self.terminal(name)
            with_socket.expect('spinning')
            with_socket.send('x')
            self.becomes(name, 'shut off (shutdown)')


class Bundles(Domains):
    """A manifest decides what the guest is; the domain may not say otherwise."""

    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix='holdfast-bundle-')
        self.addCleanup(place.cleanup)
        self.key, self.public, self.bundle = (f'{place.name}/{name}' for name in ('key', 'pub', 'bundle'))
        subprocess.run(['openssl', 'genpkey', '-algorithm', 'ED25519', '-out', self.key], check=True)
        subprocess.run(['openssl', 'pkey', '-in', self.key, '-pubout', '-out', self.public], check=True)
        self.holdfast('bundle', 'create', 'signed', '--security-version', '1', '--out', self.bundle, '--builtin',
                      '--memory', '64M', '--memory-encryption', 'none', '--cmdline', 'job=spin')
        self.holdfast('bundle', 'sign', self.bundle, '--key', self.key)

    def holdfast(self, *words):
        done = self.libvirtd.holdfast(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_a_domain_of_a_bundle(self):
        text = self.holdfast('libvirt', 'domain', '--name', 'bundled', '--bundle', self.bundle, '--bundle-key', self.public)
        name = self.start(text)
        console = self.terminal(name)
        console.expect('spinning')
        record = json.loads(self.holdfast('status', name, '--json'))
        self.assertEqual((record['bundle']['name'], record['memory_bytes']), ('signed', 64 << 20))

    def test_a_domain_that_says_otherwise_is_refused(self):
        for changed, words in (({'memory': 80}, ('HF-0214', '--memory 81920K', '67108864')), ({'cpus': 2}, ('HF-0214', '--cpus 2', ' 1')),
                               ({'cmdline': 'job=hello'}, ('HF-0214', '--cmdline'))):
            with self.subTest(changed):
                self.refused(xml('other', **{'bundle': self.bundle, 'bundle_key': self.public, **changed}), *words)
        pathlib.Path(self.bundle, 'manifest.json').write_text('{}')
        self.refused(xml('forged', bundle=self.bundle, bundle_key=self.public), 'HF-0212')


class Installed(Domains):
    """holdfast libvirt install: domains of libvirt's own user, who has no rights but those of the group kvm."""
    conf = daemon.QEMU_CONF.replace('user = "root"', 'user = "libvirt-qemu"').replace('group = "root"', 'group = "kvm"')

    def setUp(self):
        try:
            pwd.getpwnam('libvirt-qemu')
        except KeyError:
            self.skipTest('skip: no /usr/lib/libvirt')
        # What install writes outside of libvirt's own folders is this namespace's alone.
        copy = f'{self.dir}/copy'
        script = f'mkdir {copy}; for place in /etc/systemd /etc/apparmor.d; do cp -a $place {copy}/; mount --bind {copy}/${{place##*/}} $place; done'
        subprocess.run(self.libvirtd.inside('sh', '-ec', script), check=True)

    def install(self, *words):
        done = self.libvirtd.holdfast('libvirt', 'install', *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def files(self):
        command = self.libvirtd.inside('sh', '-c', 'find /etc/systemd /etc/apparmor.d /etc/libvirt /var/lib/libvirt/holdfast -type f | sort | xargs sha256sum')
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def test_it_is_shown_then_done_then_there_and_then_taken_back(self):
        before = self.files()
        self.assertIn('--yes', self.install())
        self.assertEqual(self.files(), before)
        self.install('--yes')
        after = self.files()
        self.assertNotEqual(after, before)
        self.assertEqual(self.install('--yes'), 'there is nothing to change\n')
        self.assertEqual(self.files(), after)
        checked = self.libvirtd.holdfast('libvirt', 'check').stdout
        self.assertIn('libvirt-qemu owns /var/lib/libvirt/holdfast', checked)
        self.starts_as_its_user()
        self.install('--remove')
        self.assertEqual(self.files(), after)
        self.install('--remove', '--yes')
        self.assertEqual(self.files(), before)

    def everybody_may_use_kvm(self):
        """As on a desktop; in the daemon's namespace alone. Here only root may."""
        kvm = os.stat('/dev/kvm').st_rdev
        script = f"""mkdir /run/libvirt/node; mount -t tmpfs none /run/libvirt/node
            mknod -m 666 /run/libvirt/node/kvm c {os.major(kvm)} {os.minor(kvm)}; mount --bind /run/libvirt/node/kvm /dev/kvm"""
        subprocess.run(self.libvirtd.inside('sh', '-ec', script), check=True)

    def starts_as_its_user(self):
        self.everybody_may_use_kvm()
        name = self.start(builtin('unprivileged'))
        self.terminal(name).expect('spinning')
        owner = os.stat(f'/proc/{self.adapter(name)}').st_uid
        self.assertEqual(owner, pwd.getpwnam('libvirt-qemu').pw_uid)
        state = self.libvirtd.inside('ls', '/var/lib/libvirt/holdfast/run')
        self.assertEqual(subprocess.check_output(state, text=True), f'{name}\n')
        self.virsh('destroy', name)
        self.virsh('undefine', name)


class Clients(Domains):
    def test_the_python_bindings(self):
        try:
            import libvirt
        except ImportError:
            self.skipTest('skip: no /usr/lib/python3/dist-packages/libvirt.py')
        connection = libvirt.open(self.libvirtd.uri())
        self.addCleanup(connection.close)
        domain = connection.defineXML(builtin('bound', cpus=2))
        self.addCleanup(self.forget, 'bound')
        domain.create()
        self.assertEqual(domain.state(), [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED])
        state, most, memory, cpus, _ = domain.info()
        self.assertEqual((state, most, memory, cpus), (libvirt.VIR_DOMAIN_RUNNING, 65536, 65536, 2))
        stream = connection.newStream()
        domain.openConsole(None, stream)
        said = b''
        while b'spinning' not in said:
            said += stream.recv(4096)
        domain.suspend()
        self.assertEqual(domain.state()[0], libvirt.VIR_DOMAIN_PAUSED)
        domain.resume()
        self.assertEqual([each.name() for each in connection.listAllDomains()], ['bound'])
        stream.send(b'x')
        daemon.until(lambda: domain.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN], 'its power-off')
        stream.abort()

    def test_virt_install(self):
        if daemon.shutil.which('virt-install') is None:
            self.skipTest('skip: no virt-install')
        # It asks for the host's own emulator before it looks at the one that it is given.
        place = '/usr/bin/qemu-system-x86_64'
        subprocess.run(self.libvirtd.inside('mount', '--bind', str(daemon.EMULATOR), place), check=True)
        self.addCleanup(subprocess.run, self.libvirtd.inside('umount', place), check=True)
        self.libvirtd.stop()
        self.libvirtd.start()
        flags = shape()
        kernel, initrd, cmdline = (flags[flags.index(flag) + 1] for flag in ('--kernel', '--initrd', '--cmdline'))
        done = subprocess.run(self.libvirtd.inside(
            'virt-install', '--connect', 'qemu:///system', '--name', 'installed', '--memory', '256', '--cpu', 'host-passthrough',
            '--import', '--boot', f'emulator={daemon.EMULATOR},kernel={kernel},initrd={initrd},kernel_args="{cmdline}"', '--disk', 'none',
            '--network', 'none', '--graphics', 'none', '--controller', 'usb,model=none', '--memballoon', 'none', '--machine', 'q35',
            '--osinfo', 'detect=off,require=off', '--qemu-commandline', 'env=HOLDFAST_MEMORY_ENCRYPTION=none', '--noautoconsole'),
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=daemon.DEADLINE)
        self.addCleanup(self.forget, 'installed')
        self.assertEqual(done.returncode, 0, done.stderr)
        console = self.terminal('installed')
        console.ready()
        self.assertEqual(console.sh('nproc'), '1')


class Documented(Domains):
    def printed(self, name):
        """The XML of docs/libvirt.md or of `holdfast libvirt domain`, and where its emulator is."""
        self.virsh('start', name)
        self.terminal(name).expect('spinning')
        self.virsh('destroy', name)

    def test_the_page_s_domain_starts_as_it_is_printed(self):
        page = (pathlib.Path(__file__).resolve().parents[2] / 'docs/libvirt.md').read_text()
        text = re.search(r'^    <domain.*?^    </domain>', page, re.DOTALL | re.MULTILINE)[0]
        place = pathlib.Path(re.search('<emulator>(.*?)</emulator>', text)[1])
        if not place.exists():  # in the emulated host, where writes are lost
            self.assertIn('HOLDFAST_EMULATED_HOST', os.environ, f'{place} is not installed')
            place.symlink_to(daemon.EMULATOR)
        self.printed(self.define(text))

    def test_a_domain_by_the_generator(self):
        done = self.libvirtd.holdfast('libvirt', 'domain', '--name', 'made', '--builtin', '--memory', '64M', '--cmdline', 'job=spin',
                                      '--clear-window', '16M', '--net', 'user')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.printed(self.define(done.stdout.replace("<interface type='user'>\n      <model type='virtio'/>\n    </interface>", '')))


class Refused(Domains):
    """What Holdfast does not have is refused at define or at start, with a word that names it."""

    def test_launch_security(self):
        text = builtin('sev').replace('</devices>', '</devices><launchSecurity type="sev-snp"><policy>0x00030000</policy></launchSecurity>')
        self.refused(text, 'sev-snp')

    def test_devices(self):
        for device, word in (
                ('<hostdev mode="subsystem" type="pci" managed="no"><source><address domain="0" bus="1" slot="0" function="0"/></source></hostdev>', ''),
                ('<vsock model="virtio"><cid auto="no" address="5"/></vsock>', 'vsock'),
                ('<video><model type="virtio"/></video>', ''),
                ('<iommu model="virtio"/>', 'IOMMU'),
                ('<controller type="scsi" model="virtio-scsi"/>', 'scsi')):
            with self.subTest(device):
                self.refused(builtin('device', devices=device), word)

    def test_words_of_the_environment(self):
        self.refused(builtin('variable', clear_windows='8M'), 'HOLDFAST_CLEAR_WINDOWS')
        self.refused(builtin('window', clear_window='8M'), 'clear-window')
        self.refused(builtin('tier', tier='sev-snp'), 'HF-0107')
        self.refused(builtin('Capital'), 'HF-0102')

    def test_memory_and_cpu(self):
        self.refused(builtin('locked').replace('<os>', '<memoryBacking><locked/></memoryBacking><os>'), '')
        self.refused(builtin('model').replace('<devices>', '<cpu mode="host-model"/><devices>'), '')
        self.refused(builtin('custom').replace('<devices>', '<cpu mode="custom"><model>EPYC</model></cpu><devices>'), '')


class Cgroups(Domains):
    conf = daemon.QEMU_CONF.replace('cgroup_controllers = []', 'cgroup_controllers = ["cpuacct"]')

    def test_the_processor_time_of_its_guest_is_shown(self):
        name = self.start(builtin('counted'))
        self.terminal(name).expect('spinning')
        vmm = self.processes(name)['holdfast-vmm']

        def seconds_of_the_guest():
            fields = pathlib.Path(f'/proc/{vmm}/stat').read_text().rpartition(')')[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
        daemon.until(lambda: seconds_of_the_guest() >= 2, 'the guest computes for two seconds')
        least = seconds_of_the_guest()
        shown = int(re.search(r'cpu\.time=(\d+)', self.virsh('domstats', name))[1]) / 1e9
        self.assertGreaterEqual(shown, least - 0.1)
        self.assertLess(shown, seconds_of_the_guest() + 2, 'its own, and what starting it took')


class Linux(Domains):
    def test_a_debian_guest(self):
        disk = self.dir / 'disk'
        for image in (disk, self.dir / 'read-only'):
            image.write_bytes(bytes(1 << 20))
        devices = f'''<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="{disk}"/><target dev="vda" bus="virtio"/></disk>
            <disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="{self.dir}/read-only"/><target dev="vdb" bus="virtio"/><readonly/></disk>
            <rng model="virtio"><backend model="random">/dev/urandom</backend></rng><panic model="pvpanic"/>'''
        name = self.start(linux('debian', devices=devices, cpus=2))
        console = self.terminal(name)
        console.ready()
        self.assertEqual(console.sh('nproc'), '2')
        console.sh('printf holdfast > /dev/vda; sync')
        self.assertEqual(console.sh('cat /sys/block/vdb/ro'), '1')
        self.assertIn('virtio_rng', console.sh('cat /sys/class/misc/hw_random/rng_available'))
        self.assertEqual(disk.read_bytes()[:8], b'holdfast')
        stats = dict(line.strip().split('=') for line in self.virsh('domstats', name).splitlines() if '=' in line)
        self.assertEqual((stats['block.count'], stats['block.0.wr.reqs'], stats['block.0.wr.bytes']), ('2', '1', '4096'))
        self.assertGreater(int(stats['block.0.wr.times']), 0)
        self.assertEqual((stats['block.0.capacity'], stats['block.1.wr.reqs']), ('1048576', '0'))
        self.virsh('reset', name)
        console.ready()
        console.sh('true')
        console.send('reboot -f\n')
        console.ready()
        self.assertEqual(self.state(name), 'running (booted)')
        self.virsh('shutdown', name, '--mode', 'acpi')
        self.becomes(name, 'shut off (shutdown)')

    def has_a_tpm(self, name, backend):
        self.start(linux(name, devices=f'<tpm model="tpm-crb">{backend}</tpm>'))
        console = self.terminal(name)
        console.ready()
        self.assertEqual(console.sh('cat /sys/class/tpm/tpm0/tpm_version_major'), '2')
        measured = console.sh('cat /sys/class/tpm/tpm0/pcr-sha256/4')
        self.assertNotEqual(int(measured, 16), 0)
        self.virsh('destroy', name)

    def test_a_tpm_that_holdfast_serves(self):
        holdfast = [str(daemon.HOLDFAST), '--state-dir', f'{self.dir}/vtpm', 'vtpm']
        subprocess.run([*holdfast, 'create', 'outside'], check=True, capture_output=True)
        socket_path = f'{self.dir}/vtpm.sock'
        with subprocess.Popen([*holdfast, 'serve', 'outside', '--socket', socket_path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as served:
            self.addCleanup(served.terminate)
            self.assertEqual(served.stdout.readline(), 'ready\n')
            self.has_a_tpm('external', f'<backend type="external"><source type="unix" mode="connect" path="{socket_path}"/></backend>')
            served.terminate()

    def test_a_tpm_of_swtpm_that_libvirt_starts(self):
        if daemon.shutil.which('swtpm_setup') is None:
            self.skipTest('skip: no swtpm_setup')
        self.has_a_tpm('emulated', '<backend type="emulator" version="2.0"/>')

    def test_a_tap_that_libvirt_makes(self):
        devices = '''<interface type="ethernet"><mac address="52:54:00:12:34:56"/><target dev="hftap0"/><model type="virtio"/></interface>'''
        name = self.start(linux('wired', devices=devices))
        console = self.terminal(name)
        console.ready()
        self.assertEqual(console.sh('cat /sys/class/net/eth0/address'), '52:54:00:12:34:56')
        subprocess.run(['ip', 'addr', 'add', '10.66.0.1/24', 'dev', 'hftap0'], check=True)
        subprocess.run(['ip', 'link', 'set', 'hftap0', 'up'], check=True)
        console.sh('ip addr add 10.66.0.2/24 dev eth0; ip link set eth0 up')
        console.sh('ping -c 3 -s 1400 10.66.0.1')
        sent = int(re.search(r'net\.0\.tx\.bytes=(\d+)', self.virsh('domstats', name))[1])
        self.assertGreater(sent, 3 * 1400)
        self.virsh('destroy', name)

    def test_a_panic(self):
        name = self.start(linux('oops', devices='<panic model="pvpanic"/>'))
        console = self.terminal(name)
        console.ready()
        console.send('echo c > /proc/sysrq-trigger\n')
        self.becomes(name, 'shut off (crashed)')


if __name__ == '__main__':
    unittest.main(verbosity=2)
