# SPDX-License-Identifier: Apache-2.0
"""meson install into an empty place: everything is there, is well formed, and launches a guest."""
import os
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ['BUILD']
SOURCE = os.environ['SOURCE']
VERBS = ('run', 'list', 'status', 'console', 'logs', 'stop', 'kill', 'doctor')


def run(*words, **options):
    return subprocess.run(words, capture_output=True, timeout=120, **options)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.mkdtemp(prefix='hf-install-')
        done = run('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', cls.place)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        found = [os.path.dirname(root) for root, _, files in os.walk(cls.place)
                 if os.path.basename(root) == 'bin' and 'holdfast' in files]
        cls.prefix = found[0]

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.place)

    def installed(self, *parts):
        path = os.path.join(self.prefix, *parts)
        self.assertTrue(os.path.exists(path), path)
        return path

    def test_programs(self):
        for path in ('bin/holdfast', 'libexec/holdfast/holdfast-vmm', 'libexec/holdfast/holdfast-io'):
            self.assertTrue(os.access(self.installed(path), os.X_OK))
        self.assertFalse(os.path.exists(os.path.join(self.prefix, 'bin/print-docs')))

    def test_what_is_installed_launches_a_guest(self):
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('skip: no /dev/kvm')
        done = run(self.installed('bin/holdfast'), '--state-dir', os.path.join(self.place, 'state'), 'run', '--builtin',
                   stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b'JOB: ok', done.stdout)

    def test_man_pages(self):
        for page in ('holdfast', *(f'holdfast-{verb}' for verb in VERBS)):
            path = self.installed('share/man/man1', f'{page}.1')
            with open(path) as text:
                self.assertIn('.SH NAME', text.read())
            if shutil.which('man'):
                done = run('man', '--warnings', '-l', path, env={**os.environ, 'MAN_KEEP_FORMATTING': '1'})
                self.assertEqual((done.returncode, done.stderr), (0, b''), page)

    def test_each_verb_has_a_man_page_and_no_other(self):
        pages = os.listdir(self.installed('share/man/man1'))
        told = run(self.installed('bin/holdfast'), '--help').stdout.decode().split('Subcommands:')[1]
        verbs = [line.split()[0] for line in told.splitlines() if line.startswith('  ') and line[2] != ' ']
        self.assertEqual(sorted(pages), sorted(['holdfast.1', *(f'holdfast-{verb}.1' for verb in verbs)]))

    def test_completions(self):
        bash = self.installed('share/bash-completion/completions/holdfast')
        def complete(*words):
            script = f'. {bash}; COMP_WORDS=(holdfast "$@"); COMP_CWORD=$(($#)); _holdfast; echo "${{COMPREPLY[@]}}"'
            return run('bash', '-c', script, 'bash', *words).stdout.decode().split()
        self.assertEqual(complete('st'), ['status', 'stop'])
        self.assertEqual(complete('run', '--on-reboot', ''), ['restart', 'exit'])
        self.assertEqual(complete('logs', '--f'), ['--follow'])
        self.assertEqual(sorted(complete('run', '--kernel', '/etc/host')), sorted(
            f'/etc/{name}' for name in os.listdir('/etc') if name.startswith('host')))
        self.installed('share/zsh/site-functions/_holdfast')
        self.installed('share/fish/vendor_completions.d/holdfast.fish')
        for shell, path in (('zsh', 'share/zsh/site-functions/_holdfast'),
                            ('fish', 'share/fish/vendor_completions.d/holdfast.fish')):
            if shutil.which(shell):
                self.assertEqual(run(shell, '-n', os.path.join(self.prefix, path)).returncode, 0, shell)

    def test_system_files(self):
        unit = self.installed('lib/systemd/system/holdfast@.service')
        with open(unit) as text:
            text = text.read()
        for wanted in ('MemoryMax=', 'TasksMax=', 'Slice=holdfast.slice', '/bin/holdfast run %i --config'):
            self.assertIn(wanted, text)
        self.assertNotIn('@bindir@', text)
        self.installed('lib/systemd/system/holdfast.slice')
        with open(self.installed('lib/udev/rules.d/90-holdfast.rules')) as text:
            text = text.read()
        self.assertIn('KERNEL=="kvm"', text)
        self.assertIn('KERNEL=="userfaultfd"', text)
        self.assertTrue(os.path.exists(os.path.join(self.place, 'etc/security/limits.d/holdfast-limits.conf')))

    def test_error_page_is_the_table(self):
        with open(os.path.join(SOURCE, 'docs/errors.md'), 'rb') as page:
            self.assertEqual(run(os.path.join(BUILD, 'print-docs'), 'errors').stdout, page.read(),
                             'print it again: build/print-docs errors > docs/errors.md')


if __name__ == '__main__':
    unittest.main(verbosity=2)
