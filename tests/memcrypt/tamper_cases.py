# SPDX-License-Identifier: Apache-2.0
"""threat_model.md, H-6: sealed pages are changed through the file of guest RAM."""
import os
import random

from guest import PAGE, Guest
from onlooker import Ram
from report import behaviour
from vm import until

EACH = 50 if os.environ.get("HOLDFAST_LONG") else 2
SIZE = 2 << 20


def flip(vm, qmp, ram, page, other):
    data = bytearray(ram.page(page))
    data[random.randrange(PAGE)] ^= 1 << random.randrange(8)
    ram.write(page, data)


def swap(vm, qmp, ram, page, other):
    one, two = ram.page(page), ram.page(other)
    assert one != two
    ram.write(page, two)
    ram.write(other, one)


def replay(vm, qmp, ram, page, other):
    old = ram.page(page)
    qmp.run("cont")
    # A page that was opened is sealed anew, in another version, whether the guest wrote it or not.
    until(lambda: ram.page(page) != old, "the guest uses the page")
    qmp.run("stop")
    assert ram.page(page) != old, "sealed twice, it looks the same"
    ram.write(page, old)


def zeros(vm, qmp, ram, page, other):
    ram.write(page, bytes(PAGE))


def tampered(way, number):
    """One VM, one change, while it is paused: its end."""
    # More memory than window, so that a walk seals what it leaves.
    job = f"memwalk size={SIZE} bytes=4096 passes=1000000 seed={number + 1} pattern={('sequential', 'random')[number % 2]}"
    with Guest(f"{way.__name__}-{number}", job=job, memory="16M", window="256K") as vm:
        base, slots = vm.value("base"), vm.value("slots")
        vm.expect("filled\n")
        qmp, ram = vm.qmp(), Ram(vm.vmm())
        qmp.run("stop")
        page, other = (base + slot * PAGE for slot in random.sample(range(slots), 2))
        way(vm, qmp, ram, page, other)
        qmp.run("cont")
        vm.ends(12)
        ram.close()
        said = vm.said()
        named = [address for address in (page, other) if f"the sealed page at {address:#x} is not as it was left" in said]
        assert "guest memory was tampered with" in said and named, said
        assert "JOB:" not in vm.text and "wrong" not in vm.text, vm.text
        assert not os.path.exists(f"/run/holdfast/{vm.name}"), "its state directory is still there"


def never_touched():
    """A page that the guest has not touched yet reads as zeros, or not at all."""
    with Guest("fresh", "--paused", job=f"memwalk size={SIZE}", memory="16M") as vm:
        qmp = vm.qmp()
        until(lambda: "holdfast-vmm" in vm.processes(), "holdfast-vmm")
        ram = Ram(vm.vmm())
        page = 8 << 20  # free memory begins behind the image, at 1 MiB; the walk has the first 2 MiB of it
        page = next(at for at in range(2 << 20, page, PAGE) if ram.page(at) == bytes(PAGE))
        ram.write(page, b"\1" + bytes(PAGE - 1))
        qmp.run("cont")
        vm.ends(12)
        assert f"the sealed page at {page:#x} is not as it was left" in vm.said(), vm.said()


def test_pages_that_were_tampered_with_end_the_vm_with_status_12():
    for way in (flip, swap, replay, zeros):
        with behaviour(f"tamper: {way.__name__}: {EACH} of {EACH} VMs end with status 12 and a named page"):
            for number in range(EACH):
                tampered(way, number)
    with behaviour("tamper: a page that was never touched is found changed too"):
        never_touched()


