# SPDX-License-Identifier: Apache-2.0
"""Debian kernels for the emulated host and for test guests: fetched by apt, unpacked, never installed.

Each flavour becomes one cached folder with vmlinuz, vmlinux (the ELF inside it), config, release and
lib/modules. A cached kernel is used until its folder is removed; then the newest one is fetched.
"""
import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast"

# Named by pattern: the suite that carries the newest one changes over a release's life, its name does not.
FLAVOURS = {
    "6.12": r"linux-image-6\.12\.\d+\+deb12(\.\d+)?-amd64",
    "6.12-cloud": r"linux-image-6\.12\.\d+\+deb12(\.\d+)?-cloud-amd64",
    "6.1-cloud": r"linux-image-6\.1\.0-\d+-cloud-amd64",
}


class Failure(Exception):
    """Something the user must know; the message says what and what to do."""


def locked(folder):
    """Holds folder's lock until the returned file is closed, so that simultaneous runs build a thing once."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def kernel(flavour):
    """The cached folder of this flavour, made on first use."""
    root = CACHE / "kernels"
    folder = root / flavour
    if folder.is_dir():
        return folder
    with locked(root):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=root) as work:
                _unpack(_fetch(flavour, Path(work)), Path(work))
                (Path(work) / "kernel").rename(folder)
    return folder


def modules(folder, names):
    """Paths of the named modules and of all they need, in the order in which they can be loaded."""
    release = (folder / "release").read_text()
    out = subprocess.run(["/sbin/modprobe", "-d", folder, "-S", release, "--show-depends", "-a", *names],
                         stdout=subprocess.PIPE, text=True)
    if out.returncode != 0:
        raise Failure(f"the kernel in {folder} lacks a module of: {' '.join(names)}")
    paths = [line.split()[1] for line in out.stdout.splitlines() if line.startswith("insmod ")]
    return [Path(path) for path in dict.fromkeys(paths)]


def module_bytes(path):
    """A module's ELF file; newer Debian kernels ship them compressed."""
    if path.suffix != ".xz":
        return path.read_bytes()
    return subprocess.run(["xz", "-dc", path], stdout=subprocess.PIPE, check=True).stdout


def _newest(flavour):
    """(version, package) of the newest package apt can fetch for this flavour, or None."""
    names = subprocess.run(["apt-cache", "pkgnames", "linux-image-6"], stdout=subprocess.PIPE, text=True, check=True)
    names = [name for name in names.stdout.split() if re.fullmatch(FLAVOURS[flavour], name)]
    if not names:
        return None
    rows = subprocess.run(["apt-cache", "madison", *names], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = [tuple(part.strip() for part in row.split("|")[:2]) for row in rows.splitlines() if "|" in row]
    found = [(version, package) for package, version in found if not version.endswith("Sources")]
    return max(found, key=lambda item: [int(n) for n in re.findall(r"\d+", item[0])], default=None)


def _fetch(flavour, work):
    chosen = _newest(flavour)
    if chosen is None:
        subprocess.run([TOOLS / "deps", "build", "guest"], check=True)  # adds bookworm-backports where it is missing
        chosen = _newest(flavour)
    if chosen is None:
        raise Failure(f"apt knows no package like {FLAVOURS[flavour]}: run apt-get update, or add bookworm-backports")
    version, package = chosen
    print(f"fetching {package} {version}", file=sys.stderr)
    got = subprocess.run(["apt-get", "download", "-q", f"{package}={version}"], cwd=work,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    files = list(work.glob("*.deb"))
    if got.returncode != 0 or len(files) != 1:
        raise Failure(f"apt-get download {package} failed: {got.stdout.strip()}")
    return files[0]


def _unpack(package, work):
    tree, folder = work / "tree", work / "kernel"
    subprocess.run(["dpkg", "-x", package, tree], check=True)
    image = next(tree.glob("boot/vmlinuz-*"))
    release = image.name.removeprefix("vmlinuz-")
    (folder / "lib").mkdir(parents=True)
    image.rename(folder / "vmlinuz")
    (tree / "boot" / f"config-{release}").rename(folder / "config")
    (tree / "lib/modules").rename(folder / "lib/modules")
    (folder / "release").write_text(release)
    subprocess.run(["/sbin/depmod", "-b", folder, release], check=True)
    (folder / "vmlinux").write_bytes(vmlinux((folder / "vmlinuz").read_bytes()))
    shutil.rmtree(tree)


_DECOMPRESSORS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4", b"\xfd7zXZ\x00": "xz", b"\x1f\x8b\x08": "gzip"}


def vmlinux(image):
    """The ELF kernel inside a bzImage, found by its setup header (Documentation/arch/x86/boot.rst, protocol 2.08)."""
    if image[0x202:0x206] != b"HdrS" or struct.unpack_from("<H", image, 0x206)[0] < 0x208:
        raise Failure("not a bzImage of boot protocol 2.08 or later")
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start:start + length]
    tool = next((name for magic, name in _DECOMPRESSORS.items() if payload.startswith(magic)), None)
    if tool is None:
        raise Failure(f"a kernel payload starting with {payload[:6].hex()} is of no known compression")
    # The build appends the unpacked size; gzip carries its own in the same place.
    size = struct.unpack("<I", payload[-4:])[0]
    packed = payload if tool == "gzip" else payload[:-4]
    done = subprocess.run([tool, "-dc"], input=packed, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0 or len(done.stdout) != size or done.stdout[:4] != b"\x7fELF":
        raise Failure(f"{tool} could not unpack the kernel: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
