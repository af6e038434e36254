// SPDX-License-Identifier: Apache-2.0
// The network device, against a hostile guest and an arbitrary I/O process.
#include "tests/fuzz/device_harness.hpp"
#include "vmm/virtio/net.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;
    fuzz::DeviceHarness harness;
    virtio::Net device{harness.board.memory, harness.board.client, {}};
    harness.run(device, 2, io::kNet, {data, size});
    return 0;
}
