# SPDX-License-Identifier: Apache-2.0
"""Domain XML for tests, and a domain as its user holds it."""
import os

import daemon
from vm import GUESTS, Stream, shape

QEMU = 'xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"'


def xml(name, devices='', boot='', memory=64, cpus=1, serial='<serial type="pty"/>', **variables):
    """`boot`: what stands in <os>; `variables`: HOLDFAST_... of <qemu:env>."""
    words = ''.join(f'<qemu:env name="HOLDFAST_{key.upper()}" value="{value}"/>' for key, value in variables.items())
    return f'''<domain type="kvm" {QEMU}><name>{name}</name><memory unit="MiB">{memory}</memory><vcpu>{cpus}</vcpu>
        <os><type arch="x86_64" machine="q35">hvm</type>{boot}</os><features><acpi/></features>
        <devices><emulator>{daemon.EMULATOR}</emulator>{serial}{devices}<memballoon model="none"/></devices>
        <qemu:commandline>{words}</qemu:commandline></domain>'''


def builtin(name, job='spin', tier='none', **more):
    return xml(name, builtin='on', cmdline=f'job={job}', memory_encryption=tier, **more)


def linux(name, tier='none', kernel='vmlinux-6.1', **more):
    flags = shape(kernel)
    value = {flag: flags[flags.index(flag) + 1] for flag in ('--kernel', '--initrd', '--cmdline')}
    boot = f'<kernel>{value["--kernel"]}</kernel><initrd>{value["--initrd"]}</initrd><cmdline>{value["--cmdline"]}</cmdline>'
    return xml(name, boot=boot, memory=256, memory_encryption=tier, **more)


class Terminal(Stream):
    """The pseudo terminal of a domain's console."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        super().__init__(self.fd, self.fd)
