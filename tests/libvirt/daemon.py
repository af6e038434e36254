# SPDX-License-Identifier: Apache-2.0
"""A libvirtd of a test's own: its configuration, state and sockets are in a mount namespace that ends with the test.

QEMU itself is hidden there: probing it takes an emulated host half a minute."""
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
HOLDFAST = pathlib.Path(os.environ['HOLDFAST'])
EMULATOR = HOLDFAST.with_name('holdfast-qemu')
DEADLINE = float(os.environ.get('HOLDFAST_DEADLINE', '120'))  # seconds for any one thing
PROGRAMS = ('virsh', 'libvirtd', 'unshare', 'nsenter')
EMULATED_HOST = ('qemu-system-x86_64', 'g++', 'xz', 'zstd', 'lz4')
QEMU_CONF = '''security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = []
namespaces = []
remember_owner = 0
dynamic_ownership = 0
stdio_handler = "file"
'''


def skip(thing):
    print(f'skip: no {thing}')
    raise SystemExit(77)


def need(programs=PROGRAMS):
    for program in programs:
        if shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin') is None:
            skip(program)
    if os.geteuid() != 0:
        skip('root')


def guests(*parts):
    """The environment in which vm.py finds these parts of guests; they are made here, not where writes are lost."""
    paths = {part: subprocess.run([TREE / 'tools/guests', 'path', part], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
             for part in parts}
    return {**os.environ, 'HOLDFAST_GUESTS': json.dumps(paths), 'PYTHONDONTWRITEBYTECODE': '1'}


def until(holds, what, seconds=None):
    """For what other processes do and tell nobody."""
    end = time.monotonic() + (seconds or DEADLINE)
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(what)
        select.select([], [], [], 0.05)


class Daemon:
    def __init__(self, directory, hide_qemu=True, conf=QEMU_CONF):
        self.dir = pathlib.Path(directory)
        os.chmod(self.dir, 0o755)
        (self.dir / 'qemu.conf').write_text(conf)
        (self.dir / 'libvirtd.conf').write_text('auth_unix_rw = "none"\nlog_filters = "1:qemu.qemu_monitor 1:util.command"\n'
                                                f'log_outputs = "1:file:{self.dir}/libvirtd.log"\n')
        places = ' '.join(f'/{place}/libvirt' for place in ('etc', 'run', 'var/lib', 'var/cache', 'var/log'))
        script = f'''set -e
            for place in {places}; do mkdir -p $place; mount -t tmpfs none $place; done
            for qemu in {'/usr/bin/qemu-system-*' if hide_qemu else ''}; do [ ! -e $qemu ] || mount --bind /dev/null $qemu; done
            {'' if 'cgroup_controllers = []' in conf else 'grep -q " /sys/fs/cgroup cgroup2 " /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup'}
            cp {self.dir}/qemu.conf {self.dir}/libvirtd.conf /etc/libvirt/
            echo ready; exec cat'''
        self.room = subprocess.Popen(['unshare', '--mount', 'sh', '-c', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.room.stdout.readline() == b'ready\n'
        self.errors = open(self.dir / 'libvirtd.err', 'ab')
        self.process = None
        self.start()

    def inside(self, *command):
        return ['nsenter', '-t', str(self.room.pid), '-m', *command]

    def inside_file(self, path):
        return pathlib.Path(f'/proc/{self.room.pid}/root{path}').read_text()

    def empty(self, path):
        subprocess.run(self.inside('rm', '-rf', path), check=True)

    def holdfast(self, *arguments):
        return subprocess.run(self.inside(str(HOLDFAST), *arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=DEADLINE)

    def start(self):
        self.process = subprocess.Popen(self.inside('libvirtd'), stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors)
        until(lambda: self.process.poll() is not None or self.virsh('uri', check=False).returncode == 0, 'libvirtd')

    def uri(self):
        """For a client outside of the mount namespace."""
        return f'qemu+unix:///system?socket=/proc/{self.room.pid}/root/run/libvirt/libvirt-sock'

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(DEADLINE)

    def close(self):
        if self.process.poll() is None:
            for name in self.virsh('list', '--name').split():
                self.virsh('destroy', name, check=False)
            self.stop()
        self.room.stdin.close()
        self.room.wait(DEADLINE)
        self.errors.close()

    def virsh(self, *arguments, check=True, text=None):
        done = subprocess.run(self.inside('virsh', '-q', '-c', 'qemu:///system', *arguments), capture_output=True, text=True,
                              input=text, timeout=DEADLINE)
        if not check:
            return done
        assert done.returncode == 0, f'virsh {" ".join(arguments)}: {done.stderr}'
        return done.stdout

    def log(self):
        return (self.dir / 'libvirtd.log').read_text(errors='replace')
