# SPDX-License-Identifier: Apache-2.0
"""Verbs, files and keys: what is damaged, foreign or in use is refused, and left as it is."""
import hashlib
import json
import os
import shutil
import subprocess
import unittest

from tpm_client import *


class State(VtpmTest):
    def refused(self, code, *arguments):
        """Refused with this code in three lines, and every file as before."""
        before = self.fingerprint()
        done = self.cli(*arguments, check=False)
        text = done.stderr.decode()
        self.assertNotEqual(done.returncode, 0, text)
        lines = [line for line in text.splitlines() if line.startswith(('holdfast: HF-', '  why: ', '  fix: '))]
        self.assertEqual(len(lines), 3, text)
        self.assertTrue(lines[0].startswith(f'holdfast: HF-{code}: '), text)
        self.assertEqual(self.fingerprint(), before)
        self.assertFalse(self.socket.exists())
        return text

    def fingerprint(self):
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in self.state.rglob('*') if path.is_file()}

    def serve_arguments(self, name='box'):
        return ('serve', name, '--socket', self.socket)

    def used(self, name='box', value=b'01234567'):
        """Its state is a few versions old and holds a value."""
        with self.serve(name=name) as served:
            client = booted(self.socket)
            client.good(nv_define(0x1800001, 8))
            client.good(nv_write(0x1800001, value))
            client.close()
            self.assertEqual(served.stop(), 0)

    def flip(self, offset, path=None):
        with open(path or self.file(), 'r+b') as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 0x20]))

    def newest(self):
        """The offset of the slot with the newest version."""
        data = self.file().read_bytes()
        versions = {at: int.from_bytes(data[at + 16:at + 24], 'little') for at in (8192, 8192 + (256 << 10))}
        return max(versions, key=versions.get)

    def test_create_list_remove(self):
        self.assertEqual(self.cli('list').stdout.split()[:4], [b'NAME', b'STATE', b'ID', b'AGE'])
        made = json.loads(self.cli('create', 'other', '--json').stdout)
        self.assertEqual((made['name'], made['state']), ('other', 'stopped'))
        self.assertEqual(made['ca_certificate'], str(self.state / 'host/ca.pem'))
        both = json.loads(self.cli('list', '--json').stdout)
        self.assertEqual([entry['name'] for entry in both], ['box', 'other'])
        self.assertEqual(both[1]['id'], made['id'])
        self.cli('remove', 'other')
        self.assertEqual([entry['name'] for entry in json.loads(self.cli('list', '--json').stdout)], ['box'])
        self.assertFalse(self.file('other').parent.exists())

    def test_modes_are_private(self):
        for path in self.state.rglob('*'):
            wanted = 0o644 if path.name == 'ca.pem' else 0o700 if path.is_dir() else 0o600
            self.assertEqual(path.stat().st_mode & 0o777, wanted, path)

    def test_what_create_refuses(self):
        self.refused('0502', 'create', 'box')
        self.refused('0102', 'create', 'Box')
        (self.state / 'host/state.key').unlink()
        self.refused('0507', 'create', 'other')  # a new key would make `box` unreadable for ever

    def test_the_first_ones_of_a_host_made_at_once_have_the_same_key(self):
        shutil.rmtree(self.state)
        names = [f'box{number}' for number in range(6)]
        making = [subprocess.Popen([HOLDFAST, '--state-dir', self.state, 'vtpm', 'create', name], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE) for name in names]
        for process in making:
            said = process.communicate(timeout=DEADLINE)[1]
            self.assertEqual(process.returncode, 0, said)
        for name in names:
            with self.serve(name=name):
                self.boot().good(GET_RANDOM)

    def test_a_create_that_was_killed_leaves_nothing_in_the_way(self):
        half = self.state / 'vtpm/.other.new'
        half.mkdir()
        (half / 'state').write_bytes(b'half')
        self.cli('create', 'other')
        self.assertEqual(len(json.loads(self.cli('list', '--json').stdout)), 2)

    def test_no_such_vtpm(self):
        self.refused('0503', 'serve', 'nobody', '--socket', self.socket)
        self.refused('0503', 'remove', 'nobody')

    def test_in_use(self):
        with self.serve():
            self.assertEqual(json.loads(self.cli('list', '--json').stdout)[0]['state'], 'serving')
            for arguments in (('remove', 'box'), ('serve', 'box', '--socket', self.dir / 'two.sock')):
                done = self.cli(*arguments, check=False)
                self.assertIn(b'HF-0504', done.stderr)
        self.cli('remove', 'box')

    def test_socket_in_the_way(self):
        self.socket.write_bytes(b'')
        done = self.cli(*self.serve_arguments(), check=False)
        self.assertIn(b'HF-0506', done.stderr)
        self.assertEqual(self.socket.read_bytes(), b'')

    def test_socket_of_a_killed_serve_is_replaced(self):
        self.serve().kill()
        self.assertTrue(self.socket.exists())
        with self.serve():
            self.boot().good(GET_RANDOM)

    def test_damage_anywhere_in_the_newest_state_is_refused(self):
        self.used()
        start = self.newest()
        length = int.from_bytes(self.file().read_bytes()[start + 8:start + 12], 'little')
        for offset in (0, 9, 17, 24, 40, 24 + length // 2, 24 + length - 1):
            with self.subTest(offset):
                self.flip(start + offset)
                self.refused('0501', *self.serve_arguments())
                self.flip(start + offset)
        self.serve()

    def test_change_that_keeps_the_checksum_right_is_refused_by_the_seal(self):
        self.used()
        start = self.newest()
        data = bytearray(self.file().read_bytes())
        length = int.from_bytes(data[start + 8:start + 12], 'little')
        data[start + 24 + length // 2] ^= 1
        data[start + 12:start + 16] = bytes(4)
        crc = 0xffffffff
        for byte in data[start:start + 24 + length]:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        data[start + 12:start + 16] = (crc ^ 0xffffffff).to_bytes(4, 'little')
        self.file().write_bytes(data)
        self.refused('0501', *self.serve_arguments())

    def test_file_that_was_cut_emptied_or_is_something_else(self):
        whole = self.file().read_bytes()
        for content in (b'', whole[:-1], whole[:4096], whole + b'\0', b'x' * len(whole), bytes(len(whole))):
            with self.subTest(len(content)):
                self.file().write_bytes(content)
                self.refused('0501', *self.serve_arguments())
                self.assertEqual(json.loads(self.cli('list', '--json').stdout)[0]['state'], 'damaged')
        self.file().unlink()
        self.refused('0501', *self.serve_arguments())

    def test_emptied_slots_do_not_become_a_new_tpm(self):
        data = bytearray(self.file().read_bytes())
        data[4096:] = bytes(len(data) - 4096)
        self.file().write_bytes(data)
        self.refused('0501', *self.serve_arguments())

    def test_swapped_states_do_not_open(self):
        self.cli('create', 'other')
        one, other = self.file().read_bytes(), self.file('other').read_bytes()
        self.file().write_bytes(other)
        self.refused('0501', *self.serve_arguments())
        # With the head of the right one, too: name and id are sealed in.
        self.file().write_bytes(one[:4096] + other[4096:])
        self.refused('0501', *self.serve_arguments())
        self.file().write_bytes(one)
        self.serve()

    def test_renamed_vtpm_does_not_open(self):
        os.rename(self.file().parent, self.file('other').parent)
        self.refused('0501', *self.serve_arguments('other'))

    def test_state_of_another_host_does_not_open(self):
        (self.state / 'host/state.key').write_bytes(os.urandom(32))
        self.refused('0501', *self.serve_arguments())

    def test_key_that_is_not_private_or_not_there(self):
        key = self.state / 'host/state.key'
        key.chmod(0o644)
        self.refused('0507', *self.serve_arguments())
        key.chmod(0o600)
        key.write_bytes(b'short')
        self.refused('0507', *self.serve_arguments())
        key.unlink()
        self.refused('0507', *self.serve_arguments())

    def test_state_is_a_link(self):
        elsewhere = self.dir / 'elsewhere'
        shutil.move(self.file(), elsewhere)
        self.file().symlink_to(elsewhere)
        self.refused('0501', *self.serve_arguments())

    def test_disk_sees_ciphertext_only(self):
        secret = b'a value that nobody should find on disk'
        with self.serve():
            client = self.boot()
            client.good(nv_define(0x1800001, len(secret)))
            client.good(nv_write(0x1800001, secret))
        for path in self.state.rglob('*'):
            if path.is_file():
                self.assertNotIn(secret, path.read_bytes(), path)


class Migration(VtpmTest):
    """Two processes that share the state directory, as hosts with shared storage do."""

    def setUp(self):
        super().setUp()
        self.other_socket = self.dir / 'other.sock'
        self.source = self.serve()
        self.client = self.boot()
        self.client.good(pcr_extend(7, b'm' * 32))
        self.client.good(nv_define(0x1800001, 8))
        self.client.good(nv_write(0x1800001, b'01234567'))
        self.target = self.serve('--incoming', path=self.other_socket)
        self.incoming = Client(self.other_socket)
        self.addCleanup(self.incoming.close)
        self.assertEqual(self.incoming.set_data(), 0)
        self.assertEqual(self.incoming.result(STOP), 0)

    def export(self):
        blobs = [self.client.get_blob(kind) for kind in (1, 2, 3)]
        self.assertEqual([(result, len(blob) > 0) for result, _, blob in blobs], [(0, True), (0, True), (0, False)])
        self.assertEqual([flags for _, flags, _ in blobs], [2, 2, 0])
        return [blob for _, _, blob in blobs[:2]]

    def take(self, client, blobs):
        for kind, blob in enumerate(blobs, 1):
            self.assertEqual(client.set_blob(kind, blob), 0)
        return client.init(1)

    def test_the_tpm_goes_on_at_the_destination(self):
        self.assertEqual(self.take(self.incoming, self.export()), 0)
        expected = hashlib.sha256(bytes(32) + b'm' * 32).digest()
        self.assertEqual(self.incoming.good(pcr_read(7))[-32:], expected)
        self.assertEqual(nv_data(self.incoming.good(nv_read(0x1800001, 8))), b'01234567')
        # Not at the source, which does not get the state back and does not write.
        self.assertEqual(code_of(self.client.run(GET_RANDOM)), RC_FAILURE)
        self.assertEqual(self.client.result(LOCK_STORAGE, struct.pack('>I', 3)), 9)
        self.assertEqual(self.client.result(SHUTDOWN), 0)
        self.incoming.good(nv_write(0x1800001, b'76543210'))

    def test_source_goes_on_if_the_migration_does_not_happen(self):
        blobs = self.export()
        self.assertEqual(self.client.result(LOCK_STORAGE, struct.pack('>I', 300)), 0)
        self.client.good(nv_write(0x1800001, b'76543210'))
        self.client.close()
        self.source.stop()
        # And what was handed out is worth nothing any more.
        self.assertEqual(self.take(self.incoming, blobs), 9)

    def test_a_command_at_the_source_revokes_what_was_handed_out(self):
        blobs = self.export()
        self.client.good(GET_RANDOM)
        self.assertEqual(self.take(self.incoming, blobs), 9)

    def test_volatile_state_is_used_once(self):
        blobs = self.export()
        self.assertEqual(self.take(self.incoming, blobs), 0)
        self.assertEqual(self.incoming.result(STOP), 0)
        self.assertEqual(self.take(self.incoming, blobs), 9)

    def test_changed_and_foreign_blobs_are_refused(self):
        permanent, volatile = self.export()
        for kind, blob in ((1, volatile), (2, permanent), (1, permanent[:-1]), (2, volatile[:40]), (1, b''),
                           (2, volatile[:-1] + bytes([volatile[-1] ^ 1])), (1, os.urandom(2000))):
            self.assertEqual(self.incoming.set_blob(kind, blob), 9)
        self.assertEqual(self.incoming.set_blob(3, b''), 0)
        self.assertEqual(self.take(self.incoming, [permanent, volatile]), 0)


if __name__ == '__main__':
    unittest.main(verbosity=2)
