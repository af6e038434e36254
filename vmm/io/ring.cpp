// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/ring.hpp"

#include <sys/stat.h>

namespace holdfast::io {

Result<SharedMemory> SharedMemory::map(const UniqueFd& memory) {
    // The size is sealed (sealed_memfd), so no holder can make our accesses fault later; seals are
    // the command line's doing and it is trusted, the size is checked against a version mix-up.
    struct stat status{};
    if (::fstat(memory.get(), &status) < 0) return os_error("fstat shared memory");
    if (status.st_size != static_cast<off_t>(kSharedBytes))
        return peer_fault("shared memory has a wrong size");
    return SharedMemory{HF_TRY(Mapping::shared(memory, kSharedBytes))};
}

}  // namespace holdfast::io
