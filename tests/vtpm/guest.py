# SPDX-License-Identifier: Apache-2.0
"""A Debian kernel with tpm2-tools in its initramfs: what QEMU and libvirt boot here."""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ('qemu-system-x86_64', 'tpm2', 'od')


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            print(f'skip: no {program}')
            sys.exit(77)


def files():
    """{path in the guest: file here}: tpm2 and all that it loads, in a folder that the initramfs has."""
    found = {'bin/tpm2': shutil.which('tpm2')}
    tcti = next(pathlib.Path('/usr/lib/x86_64-linux-gnu').glob('libtss2-tcti-device.so.0'))
    for binary in (found['bin/tpm2'], str(tcti)):
        for name, path in re.findall(r'(\S+) => (/\S+)', subprocess.check_output(['ldd', binary], text=True)):
            found[f'bin/{name}'] = path
    found[f'bin/{tcti.name}'] = str(tcti)
    found['bin/ld-linux-x86-64.so.2'] = '/lib64/ld-linux-x86-64.so.2'
    return found


def make(place, job):
    """(kernel, initramfs) of a guest that runs the job and switches itself off."""
    tool = str(ROOT / 'tools/guests')
    kernel = subprocess.check_output([tool, 'path', 'bzimage-6.12'], text=True).strip()
    image = pathlib.Path(place) / 'initramfs'
    pairs = [f'{there}={here}' for there, here in {**files(), 'job': str(job)}.items()]
    subprocess.run([tool, 'extend', '6.12', str(image), *pairs], check=True)
    return kernel, str(image)


def results(console):
    """(names that are ok, everything else that the job said)."""
    lines = [line[5:].strip() for line in console.splitlines() if line.startswith('TPM: ')]
    return ({line.split()[1] for line in lines if line.startswith('ok ')},
            [line for line in lines if not line.startswith('ok ')])
