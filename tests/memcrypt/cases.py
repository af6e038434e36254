#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the tier `software` must hold for whole VMs, seen from their host. Started by vm_test, as root of an emulated
host of its own, in a folder that is lost afterwards.

usage: cases.py [CASE...]     HOLDFAST_LONG=1: the long form of each
"""
import sys

import report
from kill_cases import test_sigkill_of_the_vmm_ends_the_vm_and_leaves_nothing
from refusal_cases import test_launch_without_the_rights_is_refused_and_not_weakened
from scan_cases import (test_guest_ram_is_out_of_dumps_merging_and_huge_pages,
                        test_keys_lie_where_neither_proc_nor_dumps_reach,
                        test_planted_secret_is_nowhere_once_its_time_is_up,
                        test_scanner_finds_the_secret_where_nothing_is_sealed,
                        test_sweeps_show_no_more_plaintext_than_the_window)
from stress_cases import (test_guests_that_check_every_byte_find_none_wrong, test_linux_keeps_its_files,
                          test_walks_through_pauses_and_forced_seals_find_no_wrong_byte)
from tamper_cases import test_pages_that_were_tampered_with_end_the_vm_with_status_12

CASES = [  # the longest first
    test_linux_keeps_its_files,
    test_guests_that_check_every_byte_find_none_wrong,
    test_planted_secret_is_nowhere_once_its_time_is_up,
    test_scanner_finds_the_secret_where_nothing_is_sealed,
    test_pages_that_were_tampered_with_end_the_vm_with_status_12,
    test_walks_through_pauses_and_forced_seals_find_no_wrong_byte,
    test_sweeps_show_no_more_plaintext_than_the_window,
    test_launch_without_the_rights_is_refused_and_not_weakened,
    test_sigkill_of_the_vmm_ends_the_vm_and_leaves_nothing,
    test_guest_ram_is_out_of_dumps_merging_and_huge_pages,
    test_keys_lie_where_neither_proc_nor_dumps_reach,
]


def main():
    chosen = sys.argv[1:]
    unknown = [name for name in chosen if not any(name in case.__name__ for case in CASES)]
    if unknown:
        sys.exit(f"no such case: {' '.join(unknown)}; there are: {' '.join(case.__name__ for case in CASES)}")
    cases = [case for case in CASES if not chosen or any(name in case.__name__ for name in chosen)]
    return 0 if report.run(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
