#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long `virsh start` takes, and the guest's first byte, beside the same domain on QEMU; and the adapter's memory.

usage: libvirt_start.py [--build DIR] [--rounds N] [--figures]    as root; --figures: for holdfast bench, "name value unit" a line

The two take turns, in the emulated host where this machine's KVM runs no Linux. Absolute times mean nothing there, ratios do.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # the tree stays as it is
TREE = pathlib.Path(__file__).resolve().parents[1]
FIGURES = (('start', 'virsh start', 's'), ('first_byte', 'first byte', 's'), ('pss', 'memory of the emulator process', 'MiB'))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument('--build', default=str(TREE / 'build'))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--figures', action='store_true')
    return parser.parse_args()


given = arguments()
os.environ['HOLDFAST'] = os.path.abspath(given.build) + '/holdfast'
sys.path.insert(0, str(TREE / 'tests/libvirt'))
import daemon
import domain_test
import in_emulated_host


def xml(name, emulator, console, environment=''):
    parts = json.loads(os.environ['HOLDFAST_GUESTS'])
    return f'''<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"><name>{name}</name><memory unit="MiB">256</memory>
        <vcpu>1</vcpu><os><type arch="x86_64" machine="q35">hvm</type><kernel>{parts["vmlinux-6.1"]}</kernel><initrd>{parts["initramfs-6.1"]}</initrd>
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
    pss = int(re.search(r'^Pss:\s+(\d+)', pathlib.Path(f'/proc/{int(pid)}/smaps_rollup').read_text(), re.MULTILINE)[1]) / 1024
    libvirtd.virsh('destroy', name)
    return running, byte[0], pss


def measure():
    with tempfile.TemporaryDirectory() as directory:
        libvirtd = daemon.Daemon(directory, hide_qemu=False)
        none = '<qemu:commandline><qemu:env name="HOLDFAST_MEMORY_ENCRYPTION" value="none"/></qemu:commandline>'
        results = {'holdfast': [], 'qemu': []}
        for name, emulator, more in (('holdfast', daemon.EMULATOR, none), ('qemu', '/usr/bin/qemu-system-x86_64', '')):
            file = pathlib.Path(directory, name + '.xml')
            file.write_text(xml(name, emulator, f'{directory}/{name}.console', more))
            libvirtd.virsh('define', str(file))
        warm_up = 1 if given.rounds > 1 else 0
        for turn in range(given.rounds + warm_up):
            for name, taken in results.items():
                values = once(libvirtd, name, pathlib.Path(directory, name + '.console'))
                if turn >= warm_up:
                    taken.append(values)
        libvirtd.close()
    for index, (figure, what, unit) in enumerate(FIGURES):
        if given.figures:
            for name, taken in results.items():
                for values in taken:
                    print(f'libvirt.{figure}.{name} {values[index]:.6g} {unit}')
            continue
        ours, theirs = (statistics.median(values[index] for values in results[name]) for name in ('holdfast', 'qemu'))
        print(f'{what}: holdfast {ours:.3g} {unit}, QEMU {theirs:.3g} {unit}, ratio {ours / theirs:.2f} ({given.rounds} rounds, medians)')


def main():
    daemon.need()
    environment = daemon.guests('vmlinux-6.1', 'initramfs-6.1')
    if 'HOLDFAST_EMULATED_HOST' not in os.environ and not domain_test.runs_linux():
        daemon.need(daemon.EMULATED_HOST)
        command = [in_emulated_host.PYTHON, os.path.abspath(__file__), *sys.argv[1:]]
        return in_emulated_host.run(command, environment, 1200 + 60 * given.rounds)
    os.environ.update(environment)
    return measure()


if __name__ == '__main__':
    sys.exit(main())
