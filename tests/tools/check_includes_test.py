# SPDX-License-Identifier: Apache-2.0
"""tools/check-includes against small made-up trees."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools/check-includes"
PAGE = """## Before
| `sys` | `vmm` |
## Who may include whom
| Folder | may include |
|---|---|
| `sys` | |
| `vmm/virtio` | `sys` |
| `vmm/virtio/block`, `vmm/virtio/net` | `sys`, `vmm/virtio/queue` |

| Header | stays in |
|---|---|
| `<linux/kvm.h>` | `sys` |
## After
"""


class CheckIncludes(unittest.TestCase):
    def check(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {"docs/architecture.md": PAGE, **{k.replace("__", "/") + ".cpp": v for k, v in files.items()}}.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            done = subprocess.run([sys.executable, TOOL, folder], stdout=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 1 if done.stdout else 0)
            return done.stdout.splitlines()

    def test_downward_and_own_folder_are_allowed(self):
        self.assertEqual(self.check(vmm__virtio__queue='#include "sys/fd.hpp"\n#include "vmm/virtio/spec.hpp"'), [])

    def test_upward_is_refused_with_file_and_line(self):
        found = self.check(sys__fd='\n#include "vmm/virtio/queue.hpp"')
        self.assertEqual(found, ['sys/fd.cpp:2: `sys` may not include "vmm/virtio/queue.hpp"'])

    def test_one_device_may_not_include_another(self):
        self.assertEqual(len(self.check(vmm__virtio__block='#include "vmm/virtio/net.hpp"')), 1)

    def test_a_device_may_include_what_its_own_row_names(self):
        self.assertEqual(self.check(vmm__virtio__block='#include "vmm/virtio/block.hpp"\n#include "vmm/virtio/queue.hpp"'), [])

    def test_a_name_that_only_begins_like_a_row_is_not_it(self):
        self.assertEqual(len(self.check(systems__x="")), 1)

    def test_kernel_header_stays_at_home(self):
        self.assertEqual(self.check(sys__kvm="#include <linux/kvm.h>"), [])
        self.assertEqual(len(self.check(vmm__virtio__x="#include <linux/kvm.h>")), 1)

    def test_tests_may_include_everything(self):
        self.assertEqual(self.check(tests__x='#include "vmm/virtio/net.hpp"\n#include <linux/kvm.h>'), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
