# SPDX-License-Identifier: Apache-2.0
"""Where rights are missing the launch is refused with the fix, and nothing weaker takes its place."""
import os
import subprocess

from report import behaviour
from vm import DEADLINE, HOLDFAST

NOBODY = 65534


def launch(memlock):
    """`holdfast run` by a user without privileges; (its end, what is left in its run-time folder)."""
    runtime = "/run/nobody"
    os.makedirs(runtime, 0o700, exist_ok=True)
    os.chown(runtime, NOBODY, NOBODY)
    done = subprocess.run(
        ["prlimit", f"--memlock={memlock}:{memlock}", "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
         HOLDFAST, "run", "refused", "--builtin", "--memory", "32M", "--cmdline", "job=hello"],
        env={**os.environ, "XDG_RUNTIME_DIR": runtime}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    left = [name for _, folders, files in os.walk(runtime) for name in folders + files if name == "refused"]
    return done, left


def refused(done, left, code, fix):
    lines = [line for line in done.stderr.splitlines() if ": memory encryption software" not in line]
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert lines and lines[0].startswith(f"holdfast: {code}: "), done.stderr
    assert any(line.startswith("  fix: ") and fix in line for line in lines), done.stderr
    assert "JOB:" not in done.stdout and "encryption none" not in done.stderr, "it ran all the same"
    assert not left, left
    running = subprocess.run(["ps", "-e", "-o", "uid=,comm="], stdout=subprocess.PIPE, text=True).stdout
    assert f"{NOBODY} holdfast" not in running, running


def test_launch_without_the_rights_is_refused_and_not_weakened():
    os.chmod("/dev/kvm", 0o666)
    with behaviour("rights: without /dev/userfaultfd: HF-0308, and nothing is left"):
        os.chmod("/dev/userfaultfd", 0o600)
        refused(*launch("unlimited"), "HF-0308", "udev rule")
    os.chmod("/dev/userfaultfd", 0o666)
    with behaviour("rights: with a low limit on locked memory: HF-0309, and nothing is left"):
        refused(*launch(65536), "HF-0309", "limits")
    with behaviour("rights: root who may not raise the limit: guest RAM is a file that is never swapped"):
        done = subprocess.run(
            ["prlimit", "--memlock=8388608:8388608", "setpriv", "--bounding-set=-sys_resource", HOLDFAST, "run", "--builtin",
             "--memory", "64M", "--cmdline", "job=hello"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
        assert done.returncode == 0 and "JOB: ok" in done.stdout, (done.returncode, done.stdout, done.stderr)
        assert "memory encryption software" in done.stderr, done.stderr
    with behaviour("rights: with both, a user without privileges launches the tier software"):
        done, _ = launch("unlimited")
        assert done.returncode == 0 and "JOB: ok" in done.stdout, (done.returncode, done.stdout, done.stderr)
        assert "memory encryption software" in done.stderr, done.stderr
