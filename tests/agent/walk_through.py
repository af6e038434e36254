# SPDX-License-Identifier: Apache-2.0
"""The walk-through of docs/agent.md, its lines as they are printed there. Started by walk_through_test, as root, in the emulated host."""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import attested
import report
from report import behaviour
from vm import GUESTS, HOLDFAST

PAGE = Path(__file__).resolve().parents[2] / "docs/agent.md"
SECONDS = 600


def blocks():
    """What stands indented in that section: commands, and last what they print."""
    section = PAGE.read_text().split("\n## Walk-through\n")[1].split("\n## ")[0]
    return [re.sub("^    ", "", block, flags=re.M) for block in re.findall(r"(?:^    .*\n)+", section, re.M)]


def walk_through():
    *commands, printed = blocks()
    environment = {**os.environ, "PATH": f"{os.path.dirname(HOLDFAST)}:{os.environ['PATH']}",
                   "KERNEL": GUESTS["vmlinux-6.12"], "MODULES": GUESTS["modules-6.12"]}
    with behaviour("walk-through: docs/agent.md, from an image to a group, as printed"), open("shell.log", "w") as log:
        done = subprocess.run(["bash", "-ec", "".join(commands)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                              env=environment, timeout=SECONDS, text=True)
        assert done.returncode == 0, f"status {done.returncode}, last: {done.stdout[-500:]}"
        assert done.stdout.endswith(printed), done.stdout
        decisions = [json.loads(line)["decision"] for line in Path("decisions.jsonl").read_text().splitlines()]
        assert decisions == ["released"] * 4, decisions


if __name__ == "__main__":
    os.chdir(tempfile.mkdtemp(prefix="walk-"))
    attested.shell("modprobe -a dm_crypt loop")
    sys.exit(0 if report.run([walk_through]) else 1)
