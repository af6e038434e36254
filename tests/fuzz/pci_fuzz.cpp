// SPDX-License-Identifier: Apache-2.0
// PCI configuration and BAR accesses, in front of the simplest device there is, against a hostile
// guest and an arbitrary I/O process.
#include "tests/fuzz/device_harness.hpp"
#include "vmm/virtio/rng.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;
    fuzz::DeviceHarness harness;
    virtio::Rng device{harness.board.memory};
    harness.run(device, 1, io::ResourceId{15}, {data, size});
    return 0;
}
