// SPDX-License-Identifier: Apache-2.0
// Where this module asks the kernel. A test puts a fake of iommufd behind it, since Debian's kernels have
// none.
#pragma once

#include <cstdint>

#include "sys/fd.hpp"
#include "sys/result.hpp"

namespace holdfast::iommu::host {

struct Request {
    unsigned long number;
    const char* name;
};

class Kernel {
public:
    Kernel() = default;
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;
    virtual ~Kernel() = default;
    /// As ioctl(2): -1 and errno.
    virtual int ioctl(int fd, unsigned long number, std::uintptr_t argument) noexcept = 0;

    /// The kernel this process runs on.
    [[nodiscard]] static Kernel& real() noexcept;

    /// All of this module's requests are safe to repeat after a signal.
    Result<int> ask(const UniqueFd& fd, Request request, std::uintptr_t value);
    template <typename T>
    Result<int> ask(const UniqueFd& fd, Request request, T* argument) {
        // SAFETY: only the number crosses this interface, as it does to the kernel.
        return ask(fd, request, reinterpret_cast<std::uintptr_t>(argument));
    }
};

}  // namespace holdfast::iommu::host

/// A Request from the kernel's own name, so that number and text cannot differ.
#define HF_IOMMU_REQUEST(name) (::holdfast::iommu::host::Request{name, #name})
