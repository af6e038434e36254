# SPDX-License-Identifier: Apache-2.0
"""holdfast image: what is in it (read by busybox's cpio), that the same makes the same, and what is refused."""
import lzma
import os
import shutil
import subprocess
import unittest

from harness import CliTest

MODULES = ('virtio_blk', 'virtio_net', 'virtio_console', 'virtio-rng', 'vmw_vsock_virtio_transport', 'pvpanic-pci', 'button',
           'evdev')
DISK_MODULES = ('dm-crypt', 'xts', 'aesni-intel', 'algif_skcipher')


@unittest.skipUnless(shutil.which('busybox'), 'skip: no busybox')
class ImageTest(CliTest):
    def setUp(self):
        super().setUp()
        self.agent = self.file('agent', b'\x7fELF stands in for the agent')
        os.makedirs(os.path.join(self.place, 'modules/kernel'))
        lines = ['kernel/failover.ko.xz:', 'kernel/net_failover.ko.xz: kernel/failover.ko.xz']
        for name in MODULES + DISK_MODULES:
            needs = ' kernel/net_failover.ko.xz kernel/failover.ko.xz' if name == 'virtio_net' else ''
            lines.append(f'kernel/{name}.ko.xz:{needs}')
        for line in lines:
            path = line.partition(':')[0]
            self.file(f'modules/{path}', lzma.compress(b'\x7fELF ' + path.encode() * 1000))
        self.file('modules/modules.dep', '\n'.join(lines).encode() + b'\n')
        self.file('modules/modules.builtin', b'kernel/virtio_pci.ko\nkernel/drivers/char/tpm/tpm_crb.ko\n')

    def image(self, *flags, out='image', status=0):
        done = self.cli('image', '--out', out, '--agent', self.agent, '--modules', 'modules', *flags)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def unpacked(self, name='image'):
        """{path: (mode, bytes)} of what busybox's cpio finds."""
        path = os.path.join(self.place, name)
        with open(path, 'rb') as archive:
            listing = subprocess.run(['busybox', 'cpio', '-itv'], stdin=archive, capture_output=True, check=True)
        lines = [line.partition(' -> ')[0] for line in listing.stdout.decode().splitlines()]
        modes = {line.split()[-1]: line.split()[0] for line in lines}
        tree = os.path.join(self.place, 'tree')
        shutil.rmtree(tree, ignore_errors=True)
        os.mkdir(tree)
        with open(path, 'rb') as archive:
            subprocess.run(['busybox', 'cpio', '-id', *[name for name in modes if not name.startswith('dev/')]],
                           stdin=archive, capture_output=True, check=True, cwd=tree)
        return modes, tree

    def read(self, tree, name):
        with open(os.path.join(tree, name), 'rb') as file:
            return file.read()

    def test_image_has_agent_program_configuration_and_console(self):
        program = self.file('app', b'#!/bin/sh\n')
        os.chmod(program, 0o755)
        self.image('--program', program, '--argument', '-v', '--argument', 'two words', '--file', f'etc/app.conf={self.kernel}')
        modes, tree = self.unpacked()
        self.assertEqual(self.read(tree, 'init'), self.read(self.place, 'agent'))
        self.assertEqual(modes['init'], '-rwxr-xr-x')
        self.assertEqual(self.read(tree, 'program/app'), b'#!/bin/sh\n')
        self.assertEqual(self.read(tree, 'etc/app.conf'), self.read(self.place, 'kernel'))
        self.assertEqual(self.read(tree, 'etc/holdfast/agent.conf').decode(),
                         'program = /program/app\nargument = -v\nargument = two words\n')
        self.assertTrue(modes['dev/console'].startswith('c'))

    def test_modules_are_unpacked_and_in_the_order_to_load_them(self):
        self.image()
        _, tree = self.unpacked()
        names = sorted(os.listdir(os.path.join(tree, 'lib/holdfast/modules')))
        words = [name.partition('-')[2] for name in names]
        self.assertLess(words.index('failover.ko'), words.index('net_failover.ko'))
        self.assertLess(words.index('net_failover.ko'), words.index('virtio_net.ko'))
        self.assertEqual(len(words), len(MODULES) + 2)
        self.assertEqual(self.read(tree, f'lib/holdfast/modules/{names[0]}'), b'\x7fELF ' + b'kernel/virtio_blk.ko.xz' * 1000)

    def test_same_inputs_give_the_same_bytes(self):
        os.makedirs(os.path.join(self.place, 'extra/b'))
        self.file('extra/b/one', b'1')
        os.symlink('b/one', os.path.join(self.place, 'extra/link'))
        self.image('--tree', 'extra')
        self.image('--tree', 'extra', out='again')
        self.assertEqual(self.read(self.place, 'image'), self.read(self.place, 'again'))
        modes, tree = self.unpacked()
        self.assertEqual(os.readlink(os.path.join(tree, 'link')), 'b/one')
        self.assertEqual(self.read(tree, 'b/one'), b'1')

    def refused(self, wanted, *flags):
        done = self.image(*flags, status=1)
        self.assertIn(b'HF-0215', done.stderr)
        self.assertIn(wanted, done.stderr.decode())
        self.assertFalse(os.path.exists(os.path.join(self.place, 'image')))

    def test_program_of_this_machine_brings_what_its_loader_finds(self):
        self.image('--with', '/bin/cat', '--with', '/bin/ls')
        _, tree = self.unpacked()
        self.assertEqual(self.read(tree, 'bin/cat'), self.read('/', 'bin/cat'))
        listed = subprocess.run([os.path.join(tree, 'lib64/ld-linux-x86-64.so.2'), '--inhibit-cache', '--library-path',
                                 os.path.join(tree, 'lib/x86_64-linux-gnu'), '--list', os.path.join(tree, 'bin/ls')], capture_output=True, text=True)
        self.assertEqual(listed.returncode, 0, listed.stdout + listed.stderr)
        self.assertEqual([line for line in listed.stdout.splitlines() if '=>' in line and tree not in line], [])

    @unittest.skipUnless(os.path.exists('/sbin/cryptsetup'), 'skip: no cryptsetup')
    def test_disk_in_the_configuration_brings_cryptsetup_and_its_modules(self):
        config = self.file('disk.conf', b'disk = /dev/vda\ndisk-secret = key\n')
        self.image('--config', config)
        modes, _ = self.unpacked()
        self.assertIn('sbin/cryptsetup', modes)
        for module in DISK_MODULES:
            self.assertTrue(any(name.endswith(f'-{module}.ko') for name in modes), sorted(modes))
        self.image()
        self.assertNotIn('sbin/cryptsetup', self.unpacked()[0])

    def test_what_cannot_be_in_an_image_is_refused_and_nothing_is_left(self):
        self.refused('no-such', '--program', 'no-such')
        self.refused("no module 'dm-none'", '--module', 'dm-none')
        self.refused('twice', '--file', f'init={self.kernel}')
        for name in ('a/../b', './a', 'a//b', 'a/'):
            self.refused('cannot be a file of an image', '--file', f'{name}={self.kernel}')
        self.refused('could not read', '--config', self.file('conf', b'unknown = key\n'))
        self.refused('could not read', '--argument', 'line\nbreak')
        self.file('modules/kernel/button.ko.xz', b'no xz')
        self.refused('cannot be unpacked')
        os.unlink(os.path.join(self.place, 'modules/modules.dep'))
        self.refused('modules.dep')

    def test_file_flag_that_makes_no_sense_is_wrong_usage(self):
        for flag in ('a', '=b', 'a='):
            done = self.image('--file', flag, status=2)
            self.assertIn(b'HF-0101', done.stderr)

    def test_agent_that_is_not_there_is_said_so(self):
        done = self.cli('agent', 'status', '--vsock', 'nothing')
        self.assertEqual(done.returncode, 1)
        self.assertIn(b'HF-0409', done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
