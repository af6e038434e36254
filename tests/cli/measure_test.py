# SPDX-License-Identifier: Apache-2.0
"""holdfast measure: against an implementation of its own (page_info.py), against what `run` reports, and against
the public values of virtee/sev-snp-measure."""
import json
import os
import socket
import subprocess
import unittest

import page_info
from harness import DEADLINE, CliTest, wait_until

DUMP = os.environ['LAUNCH_DUMP']        # tests/cli/launch_dump
BUILTIN = os.environ['BUILTIN_KERNEL']  # the built-in guest's ELF
VECTORS = os.environ['SNP_VECTORS']     # launch_digests.json
BODY = bytes(i * 7 % 251 for i in range(3 * 4096 + 100))


class Measure(CliTest):
    def measure(self, *flags):
        result = self.cli('measure', *flags, '--json')
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)['launch_digest']

    def dump(self, kernel, entry, memory=64, cpus=2, cmdline='a=1', initrd=None):
        """(digest, mode, entry, argument, RAM) of a launch, as the VMM's own code says."""
        out = os.path.join(self.place, 'ram')
        words = [DUMP, out, str(memory), str(cpus), entry, cmdline, kernel] + ([initrd] if initrd else [])
        digest, mode, rip, argument = subprocess.run(words, check=True, capture_output=True).stdout.decode().split()
        with open(out, 'rb') as file:
            return digest, mode, int(rip), int(argument), file.read()

    def check_format(self, path, entry, flags, pages_of, linux=False):
        initrd = self.file('initrd', b'initrd ' * 1000)
        shape = ['--memory', '64M', '--cpus', '2', '--cmdline', 'a=1', *flags]
        # The built-in guest takes no initrd.
        more = [] if '--builtin' in flags else ['--initrd', initrd]
        digest, mode, rip, argument, ram = self.dump(path, entry, initrd=initrd if more else None)
        self.assertEqual(self.measure(*shape, *more), digest)
        with open(path, 'rb') as file:
            pages = pages_of(file.read()) | page_info.fixed_pages(ram, b'a=1', mode, linux)
        if more:
            pages |= page_info.covered((64 * 2**20 - 7000) & ~4095, 7000)
        self.assertEqual(page_info.digest(ram, pages, page_info.boot_cpu(mode, rip, argument), 2), digest)
        # No page that holds anything was left out.
        for page in range(len(ram) // 4096):
            if page not in pages:
                self.assertFalse(any(ram[page * 4096:(page + 1) * 4096]), hex(page * 4096))

    def test_digest_of_the_builtin_guest_is_the_chain_over_its_pages(self):
        self.check_format(BUILTIN, 'flat', ['--builtin'], page_info.elf_pages)

    def test_digest_of_a_pvh_kernel_is_the_chain_over_its_pages(self):
        path = self.file('vmlinux', page_info.pvh_elf(BODY))
        self.check_format(path, 'pvh', ['--kernel', path], page_info.elf_pages)

    def test_digest_of_a_bzimage_is_the_chain_over_its_pages(self):
        path = self.file('bzimage', page_info.bzimage(BODY))
        self.check_format(path, 'pvh', ['--kernel', path], lambda kernel: page_info.bzimage_pages(kernel, 0x200000),
                          linux=True)

    def test_what_changes_the_launch_changes_the_digest(self):
        kernel = self.file('k', page_info.pvh_elf(BODY))
        other = self.file('k2', page_info.pvh_elf(BODY[:-1] + bytes([BODY[-1] ^ 1])))
        disk = os.path.join(self.place, 'never-opened.img')
        launches = [['--kernel', kernel], ['--kernel', other], ['--kernel', kernel, '--cmdline', 'x'],
                    ['--kernel', kernel, '--initrd', self.file('i', b'i')],
                    ['--kernel', kernel, '--initrd', self.file('j', b'j')], ['--kernel', kernel, '--memory', '513M'],
                    ['--kernel', kernel, '--memory', '4G'], ['--kernel', kernel, '--cpus', '2'],
                    ['--kernel', kernel, '--disk', disk], ['--kernel', kernel, '--disk', disk + ',ro'],
                    ['--kernel', kernel, '--net', 'user'], ['--kernel', kernel, '--vsock', '3=x'],
                    ['--kernel', kernel, '--console', 'virtio'], ['--builtin']]
        digests = [self.measure(*launch) for launch in launches]
        self.assertEqual(len(set(digests)), len(launches))
        self.assertEqual(digests[0], self.measure('name', '--kernel', kernel, '--paused', '--on-reboot', 'exit'))

    def test_config_file_and_flags_give_the_same(self):
        config = self.file('vm.toml', b'builtin = true\ncpus = 3\nmemory-encryption = "software"\n')
        self.assertEqual(self.measure('--config', config), self.measure('--builtin', '--cpus', '3'))

    def test_tier_none_has_no_digest(self):
        self.assertIsNone(self.measure('--builtin', '--memory-encryption', 'none'))

    def test_refusals(self):
        for flags, code, status in ((['--builtin', '--memory-encryption', 'sev-snp'], 'HF-0107', 1),
                                    (['--builtin', '--memory-encryption', 'x'], 'HF-0104', 2),
                                    (['--kernel', self.file('bad', b'x' * 5000)], 'HF-0208', 1),
                                    (['--kernel', 'missing'], 'HF-0201', 1), ([], 'HF-0106', 2),
                                    (['--builtin', '--vcpus', '2'], 'HF-0101', 2)):
            with self.subTest(flags=flags):
                self.assert_failure(self.cli('measure', *flags), code, status)


class Run(CliTest):
    """What `run` reports is what `measure` says."""

    def detached(self, name, *flags):
        result = self.cli('run', name, *flags, '--detach', '--json', '--memory-encryption', 'software')
        if b'HF-0107' in result.stderr:
            self.skipTest('skip: no software tier')
        if b'HF-030' in result.stderr and not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('skip: no /dev/kvm')
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)['launch_digest']

    def measure(self, *flags):
        return json.loads(self.cli('measure', *flags, '--json').stdout)['launch_digest']

    def test_run_reports_what_measure_says_for_each_kernel_format(self):
        kernels = {'pvh': ['--kernel', self.file('vmlinux', page_info.pvh_elf(BODY))],
                   'bz': ['--kernel', self.file('bzimage', page_info.bzimage(BODY)), '--cpus', '2'],
                   'builtin': ['--builtin', '--cmdline', 'job=spin']}
        for name, flags in kernels.items():
            with self.subTest(kernel=name):
                digest = self.detached(name, *flags, '--paused')
                self.assertEqual(digest, self.measure(*flags))
                self.assertEqual(self.status(name)['launch_digest'], digest)

    def reset(self, name):
        """Resets the guest. Whether the VMM that followed has said so."""
        with socket.socket(socket.AF_UNIX) as qmp:
            qmp.settimeout(DEADLINE)
            qmp.connect(self.status(name)['qmp_socket'])
            stream = qmp.makefile('rw')
            stream.readline()
            for command in ('qmp_capabilities', 'system_reset'):
                stream.write(json.dumps({'execute': command}) + '\n')
                stream.flush()
            return any('"RESET"' in line for line in iter(stream.readline, ''))

    def test_guest_that_reboots_has_the_same_digest(self):
        digest = self.detached('again', '--builtin', '--cmdline', 'job=spin', '--paused')
        self.assertTrue(self.reset('again'))
        self.cli('kill', 'again')
        wait_until(lambda: self.status('again')['state'] == 'ended', 'the end of the VM')
        status = self.status('again')
        self.assertEqual((status['reboots'], status['launch_digest']), (1, digest))

    def test_guest_that_reboots_is_launched_with_what_was_measured_or_not_at_all(self):
        kernel = self.file('vmlinux', page_info.pvh_elf(BODY))
        digest = self.detached('changed', '--kernel', kernel, '--paused')
        with open(kernel, 'r+b') as file:
            file.seek(0x1000)
            file.write(b'changed')
        self.assertFalse(self.reset('changed'))
        wait_until(lambda: self.status('changed')['state'] == 'ended', 'the end of the VM')
        status = self.status('changed')
        self.assertEqual((status['end_reason'], status['launch_digest']), ('failure', digest))
        self.assertIn('what was measured', self.cli('logs', 'changed').stdout.decode())


class Snp(CliTest):
    """Other VMMs' way of launching."""

    def measure(self, *flags):
        result = self.cli('measure', '--snp', *flags)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.decode()

    def firmware(self, name='ovmf', hash_table=0x810c00, sections=((0x800000, 0x9000, 1), (0x80d000, 0x1000, 2),
                                                                   (0x80e000, 0x1000, 3), (0x810000, 0x1000, 16))):
        return self.file(name, page_info.ovmf(sections, 0x80b004, hash_table))

    def test_public_vectors(self):
        if not os.path.exists(VECTORS):
            self.skipTest('skip: no SNP vectors')
        with open(VECTORS) as file:
            vectors = json.load(file)
        empty = self.file('empty')
        for number, case in enumerate(vectors['cases']):
            image = vectors['firmware'][case['ovmf_file']]
            sections = [(int(s['gpa'], 16), int(s['size'], 16), page_info.SECTION_TYPES[s['type']])
                        for s in image['sections']]
            ovmf = self.file('ovmf', page_info.ovmf(sections, int(image['sev_es_reset_eip'], 16),
                                                    int(image['sev_hashes_table_gpa'], 16)))
            flags = ['--ovmf', ovmf, '--vcpus', str(case['vcpus']), '--vmm-type', case['vmm_type'],
                     '--guest-features', hex(case['guest_features']), '--snp-ovmf-hash',
                     case['snp_ovmf_hash_str'] or image['snp_digest_after_firmware_pages']]
            if case.get('vcpu_type'):
                flags += ['--vcpu-type', case['vcpu_type']]
            if case['kernel'] is not None:
                flags += ['--kernel', empty, '--initrd', empty, '--append', case['append']]
            with self.subTest(case=number):
                self.assertEqual(self.measure(*flags), case['launch_digest'] + '\n')

    def test_pages_of_the_firmware_are_chained_below_four_gib(self):
        image = bytes(3 * 4096) + b'code'.ljust(4096, b'\1')
        with open(self.firmware(), 'rb') as file:
            image += file.read()
        path = self.file('big', image)
        value = bytes(48)
        for at in range(0, len(image), 4096):
            value = page_info.chain(value, page_info.NORMAL, 2**32 - len(image) + at, image[at:at + 4096])
        cpu = ['--vcpus', '1', '--vcpu-sig', '0x800f12']
        self.assertEqual(self.measure('--ovmf', path, *cpu),
                         self.measure('--ovmf', self.firmware(), '--snp-ovmf-hash', value.hex(), *cpu))

    def test_ways_to_name_a_cpu_agree(self):
        base = ['--ovmf', self.firmware(), '--vcpus', '1']
        digests = {self.measure(*base, *flags) for flags in (
            ['--vcpu-type', 'EPYC-Milan'], ['--vcpu-sig', '0xa00f11'], ['--vcpu-sig', '10489617'],
            ['--vcpu-family', '25', '--vcpu-model', '1', '--vcpu-stepping', '1'])}
        self.assertEqual(len(digests), 1)

    def test_refusals(self):
        ovmf = self.firmware()
        bare = self.firmware('bare', sections=((0x800000, 0x1000, 1),))
        cpu = ['--vcpu-type', 'EPYC-v4']
        for flags, code, status in ((['--ovmf', ovmf, *cpu], 'HF-0101', 2), (['--vcpus', '1', *cpu], 'HF-0101', 2),
                                    (['--ovmf', ovmf, '--vcpus', '0', *cpu], 'HF-0104', 2),
                                    (['--ovmf', ovmf, '--vcpus', '513', *cpu], 'HF-0104', 2),
                                    (['--ovmf', ovmf, '--vcpus', '1'], 'HF-0104', 2),
                                    (['--ovmf', ovmf, '--vcpus', '1', '--vcpu-type', 'Z80'], 'HF-0104', 2),
                                    (['--ovmf', ovmf, '--vcpus', '1', *cpu, '--vmm-type', 'x'], 'HF-0104', 2),
                                    (['--ovmf', ovmf, '--vcpus', '1', *cpu, '--snp-ovmf-hash', '00'], 'HF-0104', 2),
                                    (['--ovmf', ovmf, '--vcpus', '1', *cpu, '--guest-features', 'x'], 'HF-0104', 2),
                                    (['--ovmf', ovmf, '--vcpus', '1', *cpu, '--append', 'x'], 'HF-0101', 2),
                                    (['--ovmf', ovmf, '--vcpus', '1', *cpu, '--memory', '1G'], 'HF-0101', 2),
                                    (['--ovmf', ovmf, '--vcpus', '1', *cpu, '--kernel', 'missing'], 'HF-0201', 1),
                                    (['--ovmf', bare, '--vcpus', '1', *cpu, '--kernel', self.kernel], 'HF-0209', 1),
                                    (['--ovmf', self.kernel, '--vcpus', '1', *cpu], 'HF-0209', 1),
                                    (['--ovmf', '/dev/zero', '--vcpus', '1', *cpu], 'HF-0209', 1),
                                    (['--ovmf', 'missing', '--vcpus', '1', *cpu], 'HF-0209', 1)):
            with self.subTest(flags=flags):
                self.assert_failure(self.cli('measure', '--snp', *flags), code, status)


if __name__ == '__main__':
    unittest.main(verbosity=2)
