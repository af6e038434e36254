// SPDX-License-Identifier: Apache-2.0
#include "iommu/host/kernel.hpp"

#include <cerrno>

#include <sys/ioctl.h>

namespace holdfast::iommu::host {
namespace {

class RealKernel final : public Kernel {
public:
    int ioctl(int fd, unsigned long number, std::uintptr_t argument) noexcept override {
        return ::ioctl(fd, number, argument);
    }
};

}  // namespace

Kernel& Kernel::real() noexcept {
    static RealKernel kernel;  // has no state
    return kernel;
}

Result<int> Kernel::ask(const UniqueFd& fd, Request request, std::uintptr_t value) {
    int rc = -1;
    do {
        rc = ioctl(fd.get(), request.number, value);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) return os_error(request.name);
    return rc;
}

}  // namespace holdfast::iommu::host
