# SPDX-License-Identifier: Apache-2.0
"""Real launches of the built-in guest: many in a row, many at once, and as an ordinary user. Nothing
is left: no process, no file, no descriptor, no memory."""
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import CliTest, HOLDFAST, needs_kvm, wait_until

IN_A_ROW = int(os.environ.get('LAUNCHES', '200'))
AT_ONCE = 50


def our_processes():
    """Of everybody: what has one of our names."""
    found = set()
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/comm') as comm:
                if comm.read().strip() in ('holdfast', 'holdfast-vmm', 'holdfast-io', 'passt'):
                    found.add(int(pid))
        except OSError:
            pass
    return found


def shared_memory_kib():
    """memfds live in the kernel's shared memory: one that is never freed shows here."""
    with open('/proc/meminfo') as meminfo:
        return next(int(line.split()[1]) for line in meminfo if line.startswith('Shmem:'))


def open_files():
    with open('/proc/sys/fs/file-nr') as count:
        return int(count.read().split()[0])


def may_raise_limits():
    return subprocess.run(['prlimit', '--memlock=unlimited', 'true'], stderr=subprocess.DEVNULL).returncode == 0


# On a machine whose root may not raise limits, no ordinary user can lock guest memory.
MAY_RAISE_LIMITS = may_raise_limits()
TIER_OF_USERS = [] if MAY_RAISE_LIMITS else ['--memory-encryption', 'none']


@needs_kvm
class Leaks(CliTest):
    def launch_words(self, name):
        return [self.holdfast, '--state-dir', self.state, 'run', name, '--builtin', '--memory', '64M']

    def check_nothing_left(self, before, memory, files):
        self.assertEqual(self.vms(), [])
        wait_until(lambda: not (our_processes() - before), 'our processes gone')
        # Other things run on this machine: half of what one leaked launch each would cost.
        self.assertLess(shared_memory_kib() - memory, 32 << 10)
        self.assertLess(open_files() - files, 2000)

    def test_in_a_row(self):
        before, memory, files = our_processes(), shared_memory_kib(), open_files()
        ours = len(os.listdir('/proc/self/fd'))
        for i in range(IN_A_ROW):
            done = subprocess.run(self.launch_words(f'row-{i}'), capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(b'JOB: ok', done.stdout)
        self.assertEqual(len(os.listdir('/proc/self/fd')), ours)
        self.check_nothing_left(before, memory, files)

    def test_at_once(self):
        before, memory, files = our_processes(), shared_memory_kib(), open_files()
        running = [subprocess.Popen(self.launch_words(f'once-{i}'), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE) for i in range(AT_ONCE)]
        for vm in running:
            out, err = vm.communicate(timeout=300)
            self.assertEqual(vm.returncode, 0, err)
            self.assertIn(b'JOB: ok', out)
        self.check_nothing_left(before, memory, files)

    def test_a_supervisor_that_reboots_its_guest_keeps_its_descriptors(self):
        words = [*self.launch_words('again'), '--cmdline', 'job=hello end=reboot']
        vm = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        def boots(count):
            while count:
                line = vm.stdout.readline()
                self.assertTrue(line, 'the VM ended')
                count -= line.startswith(b'JOB: ok')
        boots(2)
        descriptors = []
        for _ in range(3):
            boots(5)
            descriptors.append(len(os.listdir(f'/proc/{vm.pid}/fd')))
        # Counted while a boot comes or goes, when some of its own are open.
        self.assertLess(max(descriptors) - min(descriptors), 20)
        vm.terminate()
        vm.communicate(timeout=60)
        self.assertEqual(vm.returncode, 13)

    def test_a_supervisor_that_is_told_to_end_while_its_guest_reboots_ends(self):
        for i in range(20):  # a signal and the guest's request in one turn of its loop are not always had
            words = [*self.launch_words(f'told-{i}'), '--cmdline', 'job=hello end=reboot']
            vm = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            while not (line := vm.stdout.readline()).startswith(b'JOB: ok'):
                self.assertTrue(line, 'the VM ended')
            vm.terminate()
            try:
                vm.communicate(timeout=60)
            finally:
                vm.kill()
            self.assertEqual(vm.returncode, 13)


@unittest.skipUnless(os.geteuid() == 0, 'skip: no root')  # to become somebody else
@needs_kvm
class Unprivileged(unittest.TestCase):
    """An ordinary user with the device's group, as the udev rule makes it. In a mount namespace with a
    node of its own, so that the host's stays as it is."""

    def setUp(self):
        self.place = tempfile.mkdtemp(prefix='hf-')
        os.chmod(self.place, 0o755)
        self.bin = os.path.join(self.place, 'bin')
        os.mkdir(self.bin)
        for name in ('holdfast', 'holdfast-vmm', 'holdfast-io'):
            shutil.copy(os.path.join(os.path.dirname(HOLDFAST), name), self.bin)
        self.runtime = os.path.join(self.place, 'runtime')
        os.mkdir(self.runtime, 0o700)
        os.chown(self.runtime, 65534, 65534)

    def tearDown(self):
        shutil.rmtree(self.place)

    def as_user(self, *arguments):
        binds = ''
        for name in ('kvm', 'userfaultfd'):
            node = os.path.join(self.place, name)
            if not os.path.exists(node):
                os.mknod(node, 0o600 | 0o020000, os.stat(f'/dev/{name}').st_rdev)
                os.chown(node, 0, 65534)
                os.chmod(node, 0o660)
            binds += f'mount --bind {node} /dev/{name} && '
        # As the limits that meson install sets for the group.
        script = binds + ('prlimit --pid $$ --memlock=unlimited && ' if MAY_RAISE_LIMITS else '') + 'exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "$@"'
        return subprocess.run(['unshare', '--mount', 'sh', '-c', script, 'sh', os.path.join(self.bin, 'holdfast'), *arguments],
                              env={'PATH': '/usr/bin:/bin', 'XDG_RUNTIME_DIR': self.runtime}, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=60)

    def test_launch(self):
        done = self.as_user('run', '--builtin', *TIER_OF_USERS)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b'JOB: ok', done.stdout)
        self.assertEqual(os.listdir(os.path.join(self.runtime, 'holdfast')), [])

    def test_detached_life(self):
        done = self.as_user('run', 'mine', '--builtin', '--cmdline', 'job=console', '--detach', *TIER_OF_USERS)
        self.assertEqual((done.returncode, done.stdout), (0, b'mine\n'), done.stderr)
        self.assertIn(b'running', self.as_user('status', 'mine').stdout)
        self.assertEqual(self.as_user('kill', 'mine').returncode, 0)


if __name__ == '__main__':
    unittest.main(verbosity=2)
