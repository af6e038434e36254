#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what `meson test` ran: every case of GoogleTest, of unittest (verbosity 2) and of scripts, else every program.

A case that cannot run says `skip: no THING`. Where this machine has the THING, that is a failure. So is a
skip that names something this file cannot check.

A script with several cases prints one line each: `ok NAME`, `not ok NAME: why` or `skip NAME: no THING`.
"""
import ctypes
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

GTEST = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] (\S+?)(?:, where .*)? \(\d+ ms\)$", re.M)
SCRIPT = re.compile(r"^(?:(ok|FAILED|not ok):? (?!\((?:failures|errors|skipped)=)(.+)|skip ([^:\n]+): (no .*))$", re.M)
UNITTEST = re.compile(r"^(test\w+) \(.*\)(?:\n.*)? \.\.\. (?:(ok)|(FAIL|ERROR)|skipped (['\"])(.*)\4)$", re.M)
REASON = re.compile(r"^skip: no (\S.*?)\.?(?:[:;,(].*)?$", re.M)
TAIL = 40  # lines of a failed test's output
KVM_GET_API_VERSION = 0xAE00


def has_kvm():
    try:
        with open("/dev/kvm", "r+b", buffering=0) as kvm:
            return fcntl.ioctl(kvm, KVM_GET_API_VERSION) == 12
    except OSError:
        return False


def runs(*command):
    return shutil.which(command[0]) is not None and subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def landlock_abi():
    """landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION): the kernel's ABI, or -1."""
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)


def has_memfd_secret():
    fd = ctypes.CDLL(None).syscall(447, os.O_CLOEXEC)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def has_software_tier():
    refused = subprocess.run(["build/holdfast", "run", "--memory-encryption", "software", "--builtin", "--console", "x"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return b"HF-0107" not in refused.stderr


def has_native_kernel_mode():
    """Whether this KVM runs a guest's kernel at full speed: doctor finds out by trying."""
    doctor = subprocess.run(["build/holdfast", "doctor", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        findings = json.loads(doctor.stdout)["findings"]
    except (ValueError, KeyError):
        return True  # not known: then a skip must not pass for an excuse
    return any(finding["id"] == "linux-guests" and finding["state"] == "ok" for finding in findings)


def has_processor_flags(flags):
    there = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return set(flags) <= set(there[1].split()) if there else True


def is_processor_of_the_ratios():
    return json.loads(Path("bench/ratios.json").read_text())["machine"]["processor"] in Path("/proc/cpuinfo").read_text()


# What a test may lack, and how to tell that it is there. Devices, files and programs tell by their names.
THINGS = {
    "/dev/kvm": has_kvm,
    "memfd_secret": has_memfd_secret,
    "root": lambda: os.geteuid() == 0,
    "user namespaces": lambda: runs("unshare", "--user", "--map-root-user", "true"),
    "machine without /dev/kvm": lambda: not has_kvm(),
    "native kernel mode": has_native_kernel_mode,
    "software tier": has_software_tier,
    "attestation vectors": lambda: Path("../shared/vectors/attest/cases.json").exists(),
    "SNP vectors": lambda: Path("../shared/vectors/snp/launch_digests.json").exists(),
    "machine without passt": lambda: not shutil.which("passt"),
    "machine with /dev/kvm for some": lambda: has_kvm() and not os.stat("/dev/kvm").st_mode & 0o006,
    "processor of bench/ratios.json": is_processor_of_the_ratios,
    "hardware VT-d or AMD-Vi": lambda: any(Path("/sys/class/iommu").glob("*")),
}


def present(thing):
    if thing in THINGS:
        return THINGS[thing]()
    if thing.startswith("Landlock ABI "):
        return landlock_abi() >= int(thing.rpartition(" ")[2])
    if thing.startswith("processor flags "):
        return has_processor_flags(thing.split()[2:])
    if thing.startswith("/"):
        return os.access(thing, os.R_OK | os.W_OK)
    return shutil.which(thing) is not None if " " not in thing else True


def excuse(said):
    """None if the reason for a skip holds; else why it does not."""
    reasons = REASON.findall(said)
    if not reasons:
        return "skipped without saying `skip: no THING`"
    thing = reasons[-1].strip()
    return f"skipped for want of {thing}, which is there (or unknown to tools/test_report.py)" if present(thing) else None


def gtest_cases(output):
    cases, before = [], 0
    for match in GTEST.finditer(output):
        said = output[before:match.start()]
        before = match.end()
        cases.append((match[2], {"OK": "ok", "FAILED": "failed", "SKIPPED": "skip"}[match[1]], said[said.rfind("[ RUN"):]))
    return cases


def cases_of(run):
    """(name, ok|failed|skip, what it said) of each case of one meson test."""
    output = run.get("stdout", "") + run.get("stderr", "")
    cases = gtest_cases(output)
    cases += [(m[1], "ok" if m[2] else "failed" if m[3] else "skip", m[5] or "") for m in UNITTEST.finditer(output)]
    cases += [(m[2] or m[3], {"ok": "ok", None: "skip"}.get(m[1], "failed"), f"skip: {m[4]}")
              for m in SCRIPT.finditer(output)]
    result = run["result"]
    if result == "SKIP" and not any(state == "skip" for _, state, _ in cases):
        cases.append(("", "skip", output.strip().rpartition("\n")[2]))
    elif result not in ("OK", "SKIP", "EXPECTEDFAIL") and not any(state == "failed" for _, state, _ in cases):
        cases.append(("", "failed", result.lower()))
    return cases or [("", "ok", "")]


def main():
    build = Path(sys.argv[1])
    logs = build / "meson-logs"
    kept = logs / "failed"
    shutil.rmtree(kept, ignore_errors=True)
    try:
        runs_ = [json.loads(line) for line in (logs / "testlog.json").read_text().splitlines()]
    except FileNotFoundError:
        print("test: nothing was run\n0 passed, 0 failed, 0 skipped")
        return 1
    counts = defaultdict(int)
    seconds = defaultdict(float)
    skips, failures = [], []
    for run in runs_:
        suite, _, name = run["name"].rpartition(" / ")
        seconds[suite.removeprefix("holdfast:") or "(none)"] += run["duration"]
        log = kept / (re.sub(r"[^\w.-]+", "-", name) + ".txt")
        for case, state, said in cases_of(run):
            full = f"{name}: {case}" if case else name
            if state == "skip":
                reason = " ".join(said.split("Skipped")[-1].strip().removeprefix("skip:").split())
                wrong = excuse(said)
                if wrong:
                    state = "failed"
                    failures.append((f"{full}: {wrong}", log))
                else:
                    skips.append(f"{full}: {reason}")
            elif state == "failed":
                failures.append((full, log))
            counts[state] += 1
        if any(path == log for _, path in failures):
            kept.mkdir(exist_ok=True)
            log.write_text(f"{' '.join(run['command'])}\n{run['result']}, exit status {run['returncode']}\n\n"
                           + run.get("stdout", "") + run.get("stderr", ""))

    print("\nTime by suite:")
    for suite, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {spent:7.1f} s  {suite}")
    if skips:
        print("\nSkipped:", *skips, sep="\n  ")
    for log in dict.fromkeys(log for _, log in failures):
        # For who has only this output, as of a CI.
        print(f"\nThe end of {log}:", *log.read_text().splitlines()[-TAIL:], sep="\n  | ")
    if failures:
        print("\nFailed:", *(f"{what}\n      {log}" for what, log in failures), sep="\n  ")
    print(f"\n{counts['ok']} passed, {counts['failed']} failed, {counts['skip']} skipped")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
