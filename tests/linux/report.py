# SPDX-License-Identifier: Apache-2.0
"""`ok NAME` and `not ok NAME: why`, from scenarios of which several run at the same time."""
import concurrent.futures
import contextlib
import os
import sys
import threading
import time
import traceback

_lock = threading.Lock()
_counts = {"ok": 0, "not ok": 0}
_said = threading.local()  # .lines: what this thread's scenario has found so far


def say(word, name, why=""):
    _said.lines.append((word, name + (f": {why}" if why else "")))


def _finish(began, name, attempt):
    """Prints what a scenario found; whether that counts."""
    wrong = any(word == "not ok" for word, _ in _said.lines)
    # QEMU's interpreter of SVM makes guests crash or stand still now and then, so a scenario gets a second chance
    # there (docs/emulated_host.md). On a real KVM it gets none.
    again = wrong and attempt == 0 and "HOLDFAST_EMULATED_HOST" in os.environ and "HOLDFAST_LONG" not in os.environ
    with _lock:
        for word, what in _said.lines:
            if again:
                print(f"# first try: {word} {what}".replace("\n", "\n# "))
            else:
                _counts[word] += 1
                print(f"{word} {what}")
        print(f"# {name}: {time.monotonic() - began:.1f} s{', once more' if again else ''}", flush=True)
        if again:
            _show_logs()
    return not again


@contextlib.contextmanager
def behaviour(name):
    """One thing that must hold. What was asserted wrongly is reported and the scenario goes on; anything else
    (a guest that does not answer, most of all) ends the scenario after its report."""
    try:
        yield
    except AssertionError as wrong:
        say("not ok", name, str(wrong) or traceback.extract_tb(wrong.__traceback__)[-1].line)
    except Exception as lost:
        say("not ok", name, f"{type(lost).__name__}: {lost}")
        raise Reported from lost
    else:
        say("ok", name)


class Reported(Exception):
    """Ends a scenario whose failure is printed already."""


def run(scenarios):
    """Runs functions, two at the same time where there are processors for that; true if nothing was wrong."""
    def one(scenario):
        for attempt in range(2):
            began = time.monotonic()
            _said.lines = []
            try:
                scenario()
            except Reported:
                pass
            except Exception as lost:
                say("not ok", scenario.__name__, "".join(traceback.format_exception(lost)[-3:]).replace("\n", "\n  "))
            if _finish(began, scenario.__name__, attempt):
                return

    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count())) as pool:
        list(pool.map(one, scenarios))
    if _counts["not ok"]:
        _show_logs()
    print(f"{_counts['ok']} ok, {_counts['not ok']} not ok", flush=True)
    return _counts["ok"] > 0 and _counts["not ok"] == 0


def _show_logs(most=4000):
    for name in sorted(os.listdir(".")):
        if name.endswith((".console", ".stderr", ".log")):
            with open(name, errors="replace") as log:
                text = log.read()
            print(f"# {name}\n  " + text[-most:].replace("\n", "\n  "), file=sys.stderr)
