# SPDX-License-Identifier: Apache-2.0
"""Every refusal of `holdfast run` and its neighbours: its code, its three lines, and nothing left."""
import os
import socket
import subprocess
import unittest

from harness import CliTest, HOLDFAST, needs_kvm


class Usage(CliTest):
    def test_unknown_verb(self):
        self.assert_failure(self.cli('frobnicate'), 'HF-0101', 2)

    def test_no_verb(self):
        self.assert_failure(self.cli(), 'HF-0101', 2)

    def test_unknown_flag(self):
        self.assert_failure(self.cli('run', '--builtin', '--frobnicate'), 'HF-0101', 2)

    def test_json_without_detach(self):
        self.assert_failure(self.cli('run', '--builtin', '--json'), 'HF-0101', 2)

    def test_bad_names(self):
        for name in ('Big', '../x', '.hidden', 'a' * 41, 'a b', ''):
            with self.subTest(name=name):
                self.assert_failure(self.cli('run', name, '--builtin'), 'HF-0102', 2)

    def test_devices_that_cannot_be_given(self):
        self.assert_failure(self.cli('run', '--builtin', '--device', '0000:01:00.0'), 'HF-0104', 2)
        for flags in (('--device', 'x'), ('--device', '../../x'), ('--device-policy', '/dev/null'),
                      ('--device', '0000:77:00.0') * 2,
                      sum((('--device', f'0000:77:00.{n}') for n in range(5)), ())):
            with self.subTest(flags=flags):
                self.assert_failure(self.cli('run', '--kernel', '/dev/null', *flags), 'HF-0104', 2)

    def test_bad_values(self):
        for flag, value in (('--clear-window', '200%'), ('--clear-window', '4K'), ('--clear-window', '1G'),
                            ('--seal-after', '0s'), ('--seal-after', '3 days'), ('--memory-cipher', 'rot13'),
                            ('--memory', 'lots'), ('--memory', '15M'), ('--memory', '2T'),
                            ('--memory', '16777217'), ('--memory', '99999999999999999999G'),
                            ('--memory', '-1'), ('--cpus', '0'), ('--cpus', '65'),
                            ('--cpus', 'two'), ('--net', 'bridge'), ('--net', 'tap='),
                            ('--net', 'tap=0123456789abcdef'), ('--net', 'user,mtu=9'), ('--net', 'tap-fd=2'), ('--net', 'tap-fd=x'),
                            ('--net', 'user,mac=52:54:00:12:34'), ('--net', 'user,mac=53:54:00:12:34:56'), ('--net', 'user,mac=52-54-00-12-34-56'),
                            ('--net', 'user,forward='), ('--net', 'user,forward=80'),
                            ('--net', 'user,forward=0:80'), ('--net', 'user,forward=80:65536'), ('--vsock', '2=x'), ('--vsock', '3'),
                            ('--vsock', '3='), ('--vsock', '4294967295=x'), ('--vsock', '3=' + 'x' * 97),
                            ('--vtpm', 'maybe'), ('--vtpm', 'socket='), ('--vtpm', 'socket=' + 'x' * 108), ('--console', 'vga'), ('--on-reboot', 'maybe'), ('--disk', ',ro'),
                            ('--memory-encryption', 'rot13'), ('--cmdline', 'x' * 2048)):
            with self.subTest(flag=flag, value=value):
                self.assert_failure(self.cli('run', '--builtin', f'{flag}={value}'), 'HF-0104', 2)

    def test_report_descriptors(self):
        self.assert_failure(self.cli('run', '--builtin', '--report-fd', '99'), 'HF-0101', 2)
        self.assert_failure(self.cli('run', '--builtin', '--detach', '--report-fd', '3'), 'HF-0101', 2)
        self.assert_failure(self.cli('run', '--builtin', '--report-fd', '1'), 'HF-0101', 2)

    def test_seventeen_disks(self):
        disk = self.file('disk', b'\0' * 512)
        self.assert_failure(self.cli('run', '--builtin', *['--disk', f'{disk},ro'] * 17), 'HF-0104', 2)

    def test_nothing_to_boot(self):
        for flags in ([], ['--builtin', '--kernel', self.kernel], ['--builtin', '--initrd', self.kernel]):
            with self.subTest(flags=flags):
                self.assert_failure(self.cli('run', *flags), 'HF-0106', 2)

    def test_tiers_that_are_not_there_are_refused_and_not_replaced(self):
        self.assert_failure(self.cli('run', '--builtin', '--memory-encryption', 'sev-snp'), 'HF-0107')


class Config(CliTest):
    def refused(self, text, line):
        path = self.file('vm.toml', text.encode())
        result = self.cli('run', '--config', path)
        self.assert_failure(result, 'HF-0105', 2)
        self.assertIn(f'line {line}:'.encode(), result.stderr)

    def test_not_toml(self):
        self.refused('builtin = true\nmemory = = 3\n', 2)

    def test_unknown_key(self):
        self.refused('builtin = true\n\nmemmory = "1G"\n', 3)

    def test_unknown_table(self):
        self.refused('builtin = true\n[disk_options]\nx = 1\n', 2)

    def test_wrong_types(self):
        for text in ('builtin = "yes"', 'kernel = 7', 'cpus = true', 'disk = "x"', 'disk = [1]', 'name = 1.5'):
            with self.subTest(text=text):
                self.refused(text + '\n', 1)

    def test_values_are_judged_as_those_of_flags(self):
        path = self.file('vm.toml', b'builtin = true\ncpus = 1000\n')
        self.assert_failure(self.cli('run', '--config', path), 'HF-0104', 2)

    def test_files_that_cannot_be_read(self):
        for path in (os.path.join(self.place, 'missing'), self.place, '/dev/zero'):
            with self.subTest(path=path):
                self.assert_failure(self.cli('run', '--config', path), 'HF-0105', 2)

    def test_endless_and_deep_files_end(self):
        self.assert_failure(self.cli('run', '--config', self.file('big.toml', b'#' * (1 << 20) + b'\n')),
                            'HF-0105', 2)
        self.assert_failure(self.cli('run', '--config', self.file('deep.toml', b'x = ' + b'[' * 100000)),
                            'HF-0105', 2)


@needs_kvm
class Host(CliTest):
    def test_kernels_that_cannot_be_opened(self):
        fifo = os.path.join(self.place, 'fifo')
        os.mkfifo(fifo)
        for path in ('missing', self.place, fifo, '/dev/null', self.file('empty')):
            with self.subTest(path=path):
                self.assert_failure(self.cli('run', '--kernel', path), 'HF-0201')

    def test_initrd_that_cannot_be_opened(self):
        self.assert_failure(self.cli('run', '--kernel', self.kernel, '--initrd', 'missing'), 'HF-0202')

    def test_disks_that_cannot_be_used(self):
        for path in ('missing', self.place, '/dev/null', self.file('odd', b'x' * 513), self.file('empty')):
            with self.subTest(path=path):
                self.assert_failure(self.cli('run', '--builtin', '--disk', path), 'HF-0203')

    def test_one_image_twice_for_writing(self):
        disk = self.file('disk', b'\0' * 512)
        self.assert_failure(self.cli('run', '--builtin', '--disk', disk, '--disk', disk), 'HF-0204')
        self.assert_failure(self.cli('run', '--builtin', '--disk', disk, '--disk', f'{disk},ro'), 'HF-0204')

    def test_tap_that_is_not_there(self):
        self.assert_failure(self.cli('run', '--builtin', '--net', 'tap=hfnone0'), 'HF-0205')

    def test_no_passt(self):
        # /usr/bin is looked at too: without it nothing could be said here.
        if os.path.exists('/usr/bin/passt'):
            self.skipTest('skip: no machine without passt')
        self.assert_failure(self.cli('run', '--builtin', '--net', 'user', env={'PATH': '/none'}), 'HF-0206')

    def test_vsock_path_in_use(self):
        path = os.path.join(self.place, 'vsock')
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            self.assert_failure(self.cli('run', '--builtin', '--vsock', f'3={path}'), 'HF-0207')
        self.assertTrue(os.path.exists(path), 'a file of somebody else was removed')

    def test_vsock_path_of_another_kind(self):
        path = self.file('precious', b'precious')
        self.assert_failure(self.cli('run', '--builtin', '--vsock', f'3={path}'), 'HF-0207')
        self.assertTrue(os.path.exists(path), 'a file of somebody else was removed')

    def test_programs_missing(self):
        alone = os.path.join(self.place, 'alone')
        os.mkdir(alone)
        self.holdfast = os.path.join(alone, 'holdfast')
        os.link(HOLDFAST, self.holdfast) if os.stat(HOLDFAST).st_dev == os.stat(alone).st_dev else \
            subprocess.run(['cp', HOLDFAST, self.holdfast], check=True)
        self.assert_failure(self.cli('run', '--builtin'), 'HF-0303')

    def test_state_directory_that_cannot_be_made(self):
        self.state = self.kernel
        self.assert_failure(self.cli('run', '--builtin'), 'HF-0401')

    def test_state_directory_with_a_path_too_long_for_sockets(self):
        self.state = os.path.join(self.place, 'x' * 100)
        self.assert_failure(self.cli('run', '--builtin'), 'HF-0401')

    def test_state_directory_of_another_user(self):
        if os.geteuid() != 0:
            self.skipTest('skip: no root')
        run = os.path.join(self.state, 'run')
        os.makedirs(run)
        os.chown(run, 65534, 65534)
        self.assert_failure(self.cli('run', '--builtin'), 'HF-0401')

    def test_no_such_vm(self):
        for verb in ('status', 'console', 'logs', 'stop', 'kill'):
            with self.subTest(verb=verb):
                self.assert_failure(self.cli(verb, 'nobody'), 'HF-0403')


class Kvm(CliTest):
    """In a mount namespace of its own, where /dev/kvm is somewhere else or nobody's."""

    def without(self, script):
        if os.geteuid() != 0:
            self.skipTest('skip: no root')
        words = [self.holdfast, '--state-dir', self.state, 'run', '--builtin']
        return subprocess.run(['unshare', '--mount', 'sh', '-c', script + '; exec "$@"', 'sh', *words],
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=60)

    def test_no_device(self):
        self.assert_failure(self.without('mount -t tmpfs none /dev'), 'HF-0301')

    def test_no_rights(self):
        os.chmod(self.place, 0o755)
        if not os.path.exists('/dev/kvm'):
            self.skipTest('skip: no /dev/kvm')
        if os.stat('/dev/kvm').st_mode & 0o006:
            self.skipTest('skip: no machine with /dev/kvm for some')
        words = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', self.holdfast,
                 '--state-dir', os.path.join(self.place, 'theirs'), 'run', '--builtin']
        os.mkdir(os.path.join(self.place, 'theirs'))
        os.chown(os.path.join(self.place, 'theirs'), 65534, 65534)
        result = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        self.assert_failure(result, 'HF-0302')


if __name__ == '__main__':
    unittest.main(verbosity=2)
