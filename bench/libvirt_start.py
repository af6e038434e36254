#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long `virsh start` takes, and the guest's first byte, beside the same domain on QEMU; and the adapter's memory.

usage: libvirt_start.py HOLDFAST [ROUNDS]    as root, where KVM runs Linux guests (tools/host run -- ...)

The two take turns. Absolute times mean nothing in the emulated host, ratios do.
"""
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TREE = pathlib.Path(__file__).resolve().parents[1]
os.environ['HOLDFAST'] = os.path.abspath(sys.argv[1])
sys.path.insert(0, str(TREE / 'tests/libvirt'))
import daemon

KERNEL, INITRD = (subprocess.run([TREE / 'tools/guests', 'path', part], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
                  for part in ('vmlinux-6.1', 'initramfs-6.1'))


def xml(name, emulator, console, environment=''):
    return f'''<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"><name>{name}</name><memory unit="MiB">256</memory>
        <vcpu>1</vcpu><os><type arch="x86_64" machine="q35">hvm</type><kernel>{KERNEL}</kernel><initrd>{INITRD}</initrd>
        <cmdline>console=ttyS0 hf.hold</cmdline></os><features><acpi/></features><cpu mode="host-passthrough"/>
        <devices><emulator>{emulator}</emulator><serial type="file"><source path="{console}"/></serial><memballoon model="none"/></devices>
        {environment}</domain>'''


def first_byte(path, start, out):
    while not path.exists() or path.stat().st_size == 0:
        time.sleep(0.002)
    out.append(time.monotonic() - start)


def once(libvirtd, name, console):
    console.unlink(missing_ok=True)
    byte, start = [], time.monotonic()
    watcher = threading.Thread(target=first_byte, args=(console, start, byte), daemon=True)
    watcher.start()
    libvirtd.virsh('start', name)
    running = time.monotonic() - start
    watcher.join(daemon.DEADLINE)
    pid = libvirtd.inside_file(f'/run/libvirt/qemu/{name}.pid')
    pss = int(re.search(r'^Pss:\s+(\d+)', pathlib.Path(f'/proc/{int(pid)}/smaps_rollup').read_text(), re.MULTILINE)[1])
    libvirtd.virsh('destroy', name)
    return running, byte[0], pss


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as directory:
        libvirtd = daemon.Daemon(directory, hide_qemu=False)
        none = '<qemu:commandline><qemu:env name="HOLDFAST_MEMORY_ENCRYPTION" value="none"/></qemu:commandline>'
        results = {'holdfast': [], 'qemu': []}
        for name, emulator, more in (('holdfast', daemon.EMULATOR, none), ('qemu', '/usr/bin/qemu-system-x86_64', '')):
            file = pathlib.Path(directory, name + '.xml')
            file.write_text(xml(name, emulator, f'{directory}/{name}.console', more))
            libvirtd.virsh('define', str(file))
        for turn in range(rounds + 1):  # the first warms caches
            for name, taken in results.items():
                values = once(libvirtd, name, pathlib.Path(directory, name + '.console'))
                if turn:
                    taken.append(values)
        libvirtd.close()
    for index, (what, unit) in enumerate((('virsh start', 's'), ('first byte', 's'), ('memory of the emulator process', 'KiB'))):
        ours, theirs = (statistics.median(values[index] for values in results[name]) for name in ('holdfast', 'qemu'))
        print(f'{what}: holdfast {ours:.3g} {unit}, QEMU {theirs:.3g} {unit}, ratio {ours / theirs:.2f} ({rounds} rounds, medians)')


if __name__ == '__main__':
    main()
