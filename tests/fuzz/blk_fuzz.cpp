// SPDX-License-Identifier: Apache-2.0
// The block device, against a hostile guest and an arbitrary I/O process.
#include "tests/fuzz/device_harness.hpp"
#include "vmm/virtio/block.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;
    fuzz::DeviceHarness harness;
    virtio::Block device{harness.board.memory,
                         harness.board.client,
                         {.disk = io::ResourceId{0}, .size_bytes = 1U << 20, .serial = "fuzz"}};
    harness.run(device, 1, io::ResourceId{0}, {data, size});
    return 0;
}
