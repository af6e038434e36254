// SPDX-License-Identifier: Apache-2.0
// The socket device, against a hostile guest and an arbitrary I/O process.
#include "tests/fuzz/device_harness.hpp"
#include "vmm/virtio/vsock.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;
    fuzz::DeviceHarness harness;
    virtio::Vsock device{harness.board.memory, harness.board.client, 3};
    harness.run(device, 3, io::kVsock, {data, size});
    return 0;
}
