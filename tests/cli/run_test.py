# SPDX-License-Identifier: Apache-2.0
"""The life of a VM as its supervisor sees it, with stand-ins for the two processes: exit statuses,
who is to blame, signals, names, the console, and nothing left behind."""
import json
import os
import pty
import signal
import subprocess
import termios
import unittest

from harness import CliTest, DEADLINE, children_of, needs_kvm, wait_until


@needs_kvm
class Endings(CliTest):
    def test_exit_statuses(self):
        for do, status in (('poweroff', 0), ('panic', 11), ('tamper', 12)):
            with self.subTest(do=do):
                result = self.cli('run', *self.guest(do))
                self.assertEqual(result.returncode, status, result.stderr)
                self.assertEqual(result.stdout, b'guest says hello\n')
                self.assertEqual(self.vms(), [])

    def test_the_tier_and_its_limit_are_said_at_each_launch(self):
        for flags, words in (((), 'software (clear window 128M of 512M): pages in the clear window and the key'),
                             (('--memory-encryption', 'none'), 'none: guest memory is not encrypted')):
            first = self.cli('run', 'talk', *self.guest('poweroff'), *flags).stderr.decode().splitlines()[0]
            self.assertTrue(first.startswith(f'holdfast: talk: memory encryption {words}'), first)

    def test_reboot_exits_when_asked_to(self):
        result = self.cli('run', *self.guest('reboot', '--on-reboot', 'exit'))
        self.assertEqual(result.returncode, 10, result.stderr)

    def test_reboot_starts_a_fresh_pair_that_gets_the_qmp_client(self):
        result = self.cli('run', *self.guest('reboot'))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, b'guest says hello\n' * 2)

    def test_launch_digest_is_shown_and_null_where_there_is_none(self):
        shown = json.loads(self.cli('run', 'd', '--detach', '--json', *self.guest('idle digest')).stdout)
        self.assertEqual(shown['launch_digest'], 'ab' * 48)
        self.assertEqual(self.status('d')['launch_digest'], 'ab' * 48)
        self.assertIn('ab' * 48, self.cli('status', 'd').stdout.decode())
        self.cli('run', 'n', '--detach', *self.guest('idle'))
        self.assertIsNone(self.status('n')['launch_digest'])

    def test_pcrs_are_shown_where_something_was_measured(self):
        shown = json.loads(self.cli('run', 'd', '--detach', '--json', *self.guest('idle pcrs')).stdout)
        self.assertEqual(shown['pcrs'], {'sha384': {'9': 'cd' * 48}})
        self.assertEqual(self.status('d')['pcrs'], {'sha384': {'9': 'cd' * 48}})
        self.cli('run', 'n', '--detach', *self.guest('idle'))
        self.assertNotIn('pcrs', self.status('n'))

    def test_second_boot_is_told_the_digest_of_the_first(self):
        for do in ('reboot digest', 'reboot'):
            name = do.replace(' ', '-')
            self.cli('run', name, '--detach', *self.guest(do))
            wait_until(lambda: self.status(name)['state'] == 'ended', 'the end of the VM')
            self.assertEqual(self.status(name)['end_detail'], 'second boot')

    def test_refused_before_the_start(self):
        result = self.cli('run', *self.guest('refuse'))
        self.assertEqual(result.stdout, b'')
        self.assert_failure(result, 'HF-0304')
        self.assertIn(b'neither bzImage nor ELF', result.stderr)

    def test_refused_before_the_start_when_detached(self):
        self.assert_failure(self.cli('run', '--detach', *self.guest('refuse')), 'HF-0304')

    def test_a_vmm_that_dies_early(self):
        self.assert_failure(self.cli('run', *self.guest('die-early')), 'HF-0306')

    def test_a_vmm_that_fails_and_one_that_dies(self):
        for do in ('fail', 'die'):
            with self.subTest(do=do):
                result = self.cli('run', *self.guest(do))
                self.assertEqual(result.returncode, 1)
                self.assertIn(b'HF-0306', result.stderr)
                self.assertEqual(self.vms(), [])



def name_of(pid):
    with open(f'/proc/{pid}/comm', 'rb') as comm:
        return comm.read().strip()


@needs_kvm
class Running(CliTest):
    def run_detached(self, *more, name='it'):
        result = self.cli('run', name, '--detach', '--json', *self.guest('idle', *more))
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_detached_object_and_its_life(self):
        told = self.run_detached()
        self.assertEqual(told['name'], 'it')
        self.assertEqual(told['state'], 'running')
        self.assertEqual(told['tier'], 'software')
        self.assertIsNone(told['launch_digest'])
        self.assertEqual(told['clear_window_bytes'], 128 << 20)
        self.assertTrue(os.path.exists(told['qmp_socket']))
        self.assertEqual(os.stat(os.path.dirname(told['qmp_socket'])).st_mode & 0o777, 0o700)
        self.assertEqual(self.status('it')['pid'], told['pid'])
        self.assertIn(b'running', self.cli('list').stdout)
        self.assertEqual(self.cli('stop', 'it').returncode, 0)
        ended = self.status('it')
        self.assertEqual((ended['state'], ended['end_reason'], ended['exit_status']), ('ended', 'power-off', 0))
        self.assertFalse(os.path.exists(told['qmp_socket']))
        self.assertEqual(self.cli('stop', 'it').returncode, 1)
        self.assertIn(b'HF-0404', self.cli('kill', 'it').stderr)

    def test_the_background_process_holds_nothing_of_the_terminal(self):
        pid = self.run_detached()['pid']
        self.assertEqual(os.getsid(pid), pid)
        self.assertEqual(os.readlink(f'/proc/{pid}/cwd'), '/')
        for fd in (0, 1):
            self.assertEqual(os.readlink(f'/proc/{pid}/fd/{fd}'), '/dev/null')

    def test_kill(self):
        told = self.run_detached()
        family = children_of(told['pid'])
        self.assertEqual(len(family), 2)
        self.assertEqual(self.cli('kill', 'it').returncode, 0)
        self.assertEqual(self.status('it')['exit_status'], 13)
        for pid in family:
            self.assertFalse(os.path.exists(f'/proc/{pid}'), 'a process was left')

    def test_stop_ends_a_deaf_guest_at_the_deadline(self):
        self.cli('run', 'it', '--detach', *self.guest('idle deaf'))
        result = self.cli('stop', 'it', '--timeout', '1s')
        self.assertEqual(result.returncode, 1)
        self.assertIn(b'HF-0407', result.stderr)
        self.assertEqual(self.status('it')['state'], 'ended')

    def test_a_name_is_given_once(self):
        self.run_detached()
        result = self.cli('run', 'it', *self.guest('poweroff'))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b'HF-0402', result.stderr)
        self.assertEqual(self.status('it')['state'], 'running')

    def test_a_name_of_a_vm_that_ended_is_free(self):
        self.run_detached()
        self.cli('kill', 'it')
        self.run_detached()

    def test_what_a_killed_supervisor_left_is_recognised(self):
        pid = self.run_detached()['pid']
        family = children_of(pid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(os.path.exists(f'/proc/{p}') for p in family), 'children gone')
        self.assertEqual(self.status('it')['state'], 'ended')
        self.assertIn(b'HF-0404', self.cli('stop', 'it').stderr)
        self.assertEqual(self.run_detached()['state'], 'running')

    def test_a_disk_is_written_by_one_vm_only(self):
        disk = self.file('disk', b'\0' * 4096)
        self.run_detached('--disk', disk)
        for flag in (disk, f'{disk},ro'):
            with self.subTest(flag=flag):
                result = self.cli('run', *self.guest('poweroff', '--disk', flag))
                self.assertIn(b'HF-0204', result.stderr)
        self.cli('kill', 'it')
        self.assertEqual(self.cli('run', *self.guest('poweroff', '--disk', disk)).returncode, 0)

    def test_readers_share_a_disk(self):
        disk = self.file('disk', b'\0' * 4096)
        self.run_detached('--disk', f'{disk},ro')
        self.assertEqual(self.cli('run', *self.guest('poweroff', '--disk', f'{disk},ro')).returncode, 0)

    def test_a_dead_child_ends_the_other_and_is_named(self):
        for name in (b'holdfast-vmm', b'holdfast-io'):
            with self.subTest(name=name):
                vm = self.start('run', *self.guest('idle'))
                self.assertEqual(vm.stdout.readline(), b'guest says hello\n')
                family = children_of(vm.pid)
                os.kill(next(pid for pid in family if name_of(pid) == name), signal.SIGKILL)
                out, err = vm.communicate(timeout=DEADLINE)
                self.assertEqual(vm.returncode, 1)
                self.assertIn(name + b' ended unexpectedly (signal 9', err)
                for pid in family:
                    self.assertFalse(os.path.exists(f'/proc/{pid}'), 'a process was left')
                self.assertEqual(self.vms(), [])

    def test_signals_end_the_vm_with_status_13(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(signal=number):
                vm = self.start('run', *self.guest('idle'))
                vm.stdout.readline()
                vm.send_signal(number)
                vm.communicate(timeout=DEADLINE)
                self.assertEqual(vm.returncode, 13)
                self.assertEqual(self.vms(), [])

    def test_logs(self):
        self.run_detached()
        wait_until(lambda: self.cli('logs', 'it', '--console').stdout == b'guest says hello\n', 'console log')
        follower = self.start('logs', 'it', '--console', '--follow')
        self.assertEqual(follower.stdout.readline(), b'guest says hello\n')
        self.cli('kill', 'it')
        follower.communicate(timeout=DEADLINE)
        self.assertEqual(follower.returncode, 0)
        self.assertIn(b'memory encryption none', self.cli('logs', 'it').stdout + b'memory encryption none')

    def test_state_directory_is_the_users_runtime_directory(self):
        runtime = os.path.join(self.place, 'runtime')
        env = {**os.environ, 'XDG_RUNTIME_DIR': runtime}
        words = [self.holdfast, 'run', 'it', '--detach', *self.guest('idle')]
        subprocess.run(words, env=env, check=True, capture_output=True, cwd=self.place)
        self.assertTrue(os.path.exists(os.path.join(runtime, 'holdfast/it/qmp.sock')))
        subprocess.run([self.holdfast, 'kill', 'it'], env=env, check=True)


@needs_kvm
class ConfigFile(CliTest):
    def test_file_and_flags(self):
        os.mkdir(os.path.join(self.place, 'etc'))
        self.file('etc/kernel', b'k')
        config = self.file('etc/vm.toml', b'name = "filed"\nkernel = "kernel"\ncmdline = "do=idle"\ncpus = 2\n'
                                          b'memory = "64M"\n')
        told = json.loads(self.cli('run', '--config', config, '--cpus', '3', '--detach', '--json').stdout)
        self.assertEqual((told['name'], told['cpus'], told['memory_bytes']), ('filed', 3, 64 << 20))
        self.assertEqual(told['boots'], os.path.join(self.place, 'etc/kernel'))

    def test_a_flag_chooses_another_way_to_boot(self):
        config = self.file('vm.toml', b'builtin = true\n')
        result = self.cli('run', '--config', config, '--kernel', self.kernel, '--cmdline', 'do=poweroff')
        self.assertEqual(result.returncode, 0, result.stderr)


@needs_kvm
class Console(CliTest):
    def test_standard_input_reaches_the_guest_and_its_end_is_not_the_vms(self):
        vm = self.start('run', *self.guest('idle'))
        vm.stdout.readline()
        vm.stdin.write(b'to the guest\n')
        vm.stdin.close()
        self.assertEqual(vm.stdout.readline(), b'echo: to the guest\n')
        self.assertIsNone(vm.poll())
        vm.terminate()
        vm.wait()
        vm.stdout.close()
        vm.stderr.close()

    def test_a_reader_that_has_gone_does_not_end_the_vm(self):
        vm = self.start('run', *self.guest('idle'))
        vm.stdout.readline()
        vm.stdout.close()
        vm.stdin.write(b'x' * 100)
        vm.stdin.flush()
        vm.terminate()
        self.assertEqual(vm.wait(DEADLINE), 13)
        vm.stdin.close()
        vm.stderr.close()

    def terminal(self, *arguments):
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        pid = os.fork()
        if pid == 0:
            os.login_tty(slave) if hasattr(os, 'login_tty') else self.become(slave)
            os.close(master)
            os.execv(self.holdfast, [self.holdfast, '--state-dir', self.state, *arguments])
        return pid, master, slave, before

    @staticmethod
    def become(slave):
        import fcntl
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)

    @staticmethod
    def read_until(master, wanted):
        seen = b''
        while wanted not in seen:
            seen += os.read(master, 4096)
        return seen

    def test_keys_and_the_way_back(self):
        pid, master, slave, before = self.terminal('run', *self.guest('idle'))
        self.read_until(master, b'hello')
        self.assertFalse(termios.tcgetattr(slave)[3] & termios.ECHO)
        os.write(master, b'\x01h')
        self.read_until(master, b'end the VM')
        os.write(master, b'\x03\x01a')
        self.read_until(master, b'\x03')
        os.write(master, b'\x01x')
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 13)
        self.assertEqual(termios.tcgetattr(slave), before)

    def test_the_terminal_is_put_back_after_signals(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT):
            with self.subTest(signal=number):
                pid, master, slave, before = self.terminal('run', *self.guest('idle'))
                self.read_until(master, b'hello')
                os.kill(pid, number)
                os.waitpid(pid, 0)
                self.assertEqual(termios.tcgetattr(slave), before)
                os.close(master)
                os.close(slave)

    def test_console_verb_leaves_and_the_vm_goes_on(self):
        self.cli('run', 'it', '--detach', *self.guest('idle'))
        pid, master, slave, before = self.terminal('console', 'it')
        self.read_until(master, b'Ctrl-A x')
        os.write(master, b'ping\r')
        self.read_until(master, b'echo: ping')
        os.write(master, b'\x01x')
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertEqual(termios.tcgetattr(slave), before)
        self.assertEqual(self.status('it')['state'], 'running')


if __name__ == '__main__':
    unittest.main(verbosity=2)
