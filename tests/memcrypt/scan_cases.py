# SPDX-License-Identifier: Apache-2.0
"""threat_model.md, H-1: what an onlooker without the key finds."""
import os
import random
import tempfile

from guest import PAGE, Guest, is_walked, pages_of, secret_words
from onlooker import Ram, core_dumps, flags_of_ram, is_unswapped_file, has_gdb, in_file, in_memory, in_ram, mappings, readable, stopped
from report import behaviour
from vm import until

LONG = bool(os.environ.get("HOLDFAST_LONG"))


def processes(vm):
    return {"holdfast": vm.process.pid, **vm.processes()}


def without_gdb(name):
    if not has_gdb():
        print(f"skip {name}: no gdb", flush=True)
    return not has_gdb()


def test_planted_secret_is_nowhere_once_its_time_is_up():
    seed = random.getrandbits(40)
    needles = secret_words(seed)
    with Guest("secret", job=f"secret seed={seed}", window="25%", seal_after="1s") as vm:
        planted = vm.value("planted")
        ram, pids = Ram(vm.vmm()), processes(vm)
        page = planted // PAGE * PAGE
        def is_sealed():
            return ram.page(page) != bytes(PAGE) and not any(word in ram.page(page) for word in needles)
        with behaviour("secret: is sealed in its place, though there is room in the window"):
            until(is_sealed, "the secret's page sealed")
        with behaviour("secret: comes back when the guest looks, and is sealed again"):
            before = ram.page(page)
            vm.send("c")
            vm.expect("checked\n")
            until(lambda: is_sealed() and ram.page(page) != before, "the secret's page sealed again")
        with behaviour("secret: is nowhere in the file of guest RAM"):
            found = in_ram(ram, needles)
            assert not found, found
        with behaviour("secret: is in no memory of any process of the VM"):
            found = [at for pid in pids.values() for at in in_memory(pid, needles)]
            assert len(pids) == 3 and not found, found or pids
        name = "secret: is in no core dump of any process of the VM"
        if not without_gdb(name):
            with behaviour(name), tempfile.TemporaryDirectory(dir=".") as folder:
                found = [path for path in core_dumps(pids.values(), folder).values() if in_file(path, needles)]
                assert not found, found
        vm.send("x")
        vm.ends_ok()


def test_scanner_finds_the_secret_where_nothing_is_sealed():
    seed = random.getrandbits(40)
    needles = secret_words(seed)
    with Guest("control", job=f"secret seed={seed}", window="100%", seal_after="off") as vm:
        vm.value("planted")
        ram, pids = Ram(vm.vmm()), processes(vm)
        with behaviour("secret: with sealing off it is found, so the scans above can find it"):
            assert in_ram(ram, needles), "not in the file of guest RAM"
            assert in_memory(vm.vmm(), needles), "not in /proc/PID/mem"
        name = "secret: with sealing off it is found in a full core dump, and not in one that leaves out what is excluded"
        if not without_gdb(name):
            with behaviour(name), tempfile.TemporaryDirectory(dir=".") as folder:
                cores = core_dumps([vm.vmm()], folder)
                assert in_file(cores[vm.vmm(), "full"], needles), "not in the full core dump"
                assert not in_file(cores[vm.vmm(), "plain"], needles), "in the plain core dump"
        vm.send("x")
        vm.ends_ok()


def walked_pages(ram, seed):
    """How many pages hold what memwalk wrote there."""
    return sum(is_walked(int.from_bytes(data[at:at + 8], "little"), start + at, seed)
               for start, data in ram.chunks() for at in range(0, len(data), PAGE))


def test_sweeps_show_no_more_plaintext_than_the_window():
    seed = random.getrandbits(16)
    # Ageing would empty the window where the guest is slow.
    job = f"memwalk size=24M bytes=4096 pattern=random passes=1000000 seed={seed}"
    with Guest("sweep", job=job, seal_after="off") as vm:
        vm.expect("filled\n")
        qmp, ram = vm.qmp(), Ram(vm.vmm())
        window = pages_of(qmp)["window"]
        with behaviour("sweep: a running guest's RAM shows at most the window in plaintext, at any moment"):
            assert window == (32 << 20) // 10 // PAGE, window
            for _ in range(50 if LONG else 6):
                before = qmp.run("query-memcrypt")["cipher"]["opened"]
                until(lambda: qmp.run("query-memcrypt")["cipher"]["opened"] > before + 100, "the guest goes on")
                with stopped(vm.vmm()):
                    clear = walked_pages(ram, seed)
                # The lower bound shows that the sweep can tell: most of the window is the walk's.
                assert window // 2 < clear <= window, f"{clear} pages are plaintext, of a window of {window}"
            most = pages_of(qmp)["most-clear"]
            assert most <= window, f"most-clear says {most}"
        with behaviour("sweep: a paused guest's RAM shows none"):
            qmp.run("stop")
            clear = walked_pages(ram, seed)
            assert clear == 0, f"{clear} pages are plaintext"
        qmp.run("quit")
        vm.ends(13)


def test_guest_ram_is_out_of_dumps_merging_and_huge_pages():
    with Guest("flags", job="spin") as vm:
        vm.expect("spinning\n")
        with behaviour("flags: RAM is excluded from dumps, page merging and huge pages, and never swapped"):
            views = flags_of_ram(vm.vmm())
            assert len(views) >= 2, views
            for flags in views:
                assert {"dd", "nh"} <= set(flags) and "mg" not in flags, flags
            assert any("lo" in flags for flags in views) or is_unswapped_file(vm.vmm()), views
            assert any("um" in flags for flags in views), "no view waits for missing pages"
        with behaviour("flags: no other process of the VM has RAM mapped"):
            others = [pid for name, pid in processes(vm).items() if name != "holdfast-vmm"]
            assert len(others) == 2 and not any(flags_of_ram(pid) for pid in others)
        vm.send("x")
        vm.ends_ok()


def test_keys_lie_where_neither_proc_nor_dumps_reach():
    with Guest("keys", job="spin") as vm:
        vm.expect("spinning\n")
        with behaviour("keys: lie in secret memory, which /proc/PID/mem is refused"):
            secret = [(start, end) for start, end, _, file in mappings(vm.vmm()) if file.startswith("/secretmem")]
            assert secret, "no memfd_secret is mapped"
            pages = [at for start, end in secret for at in range(start, end, PAGE)]
            read = [f"{at:#x}" for at in pages if readable(vm.vmm(), at)]
            assert not read, f"{read} can be read"
        vm.send("x")
        vm.ends_ok()
