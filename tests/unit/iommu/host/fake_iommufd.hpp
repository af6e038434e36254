// SPDX-License-Identifier: Apache-2.0
// A fake of iommufd's requests, as the kernel's documentation and uapi header describe them. Descriptors are
// real (memfds stand for the files); what they mean is kept here. Errors as the kernel gives them: EINVAL out
// of order, ENOENT for ids and ranges that are not there, EEXIST for an overlap, EMSGSIZE for a short list.
#pragma once

#include <cerrno>
#include <map>
#include <set>
#include <vector>

#include "iommu/host/kernel.hpp"
#include "iommu/host/uapi.hpp"

namespace holdfast::iommu::host {

class FakeIommufd final : public Kernel {
public:
    struct Area {
        std::uint64_t host = 0;
        std::uint64_t size = 0;
        std::uint32_t flags = 0;
    };
    using Space = std::map<std::uint64_t, Area>;

    int ioctl(int fd, unsigned long number, std::uintptr_t argument) noexcept override {
        const int error = serve(fd, number, argument);
        if (error == 0) return 0;
        errno = error;
        return -1;
    }

    std::map<std::uint32_t, Space> spaces_;
    std::set<int> bound_;
    std::map<int, std::uint32_t> attached_;
    bool list_too_long_ = false;

private:
    template <typename T>
    static T& at(std::uintptr_t argument) {
        // SAFETY: as the kernel does, the fake trusts the caller for nothing but the address.
        return *reinterpret_cast<T*>(argument);
    }
    int serve(int fd, unsigned long number, std::uintptr_t argument) {
        switch (number) {
            case uapi::IOMMU_IOAS_ALLOC: {
                auto& request = at<uapi::iommu_ioas_alloc>(argument);
                if (request.size != sizeof request || request.flags != 0) return EOPNOTSUPP;
                request.out_ioas_id = next_id_++;
                spaces_[request.out_ioas_id];
                return 0;
            }
            case uapi::IOMMU_DESTROY: return destroy(at<uapi::iommu_destroy>(argument).id);
            case uapi::IOMMU_IOAS_IOVA_RANGES: return ranges(at<uapi::iommu_ioas_iova_ranges>(argument));
            case uapi::IOMMU_IOAS_MAP: return map(at<uapi::iommu_ioas_map>(argument));
            case uapi::IOMMU_IOAS_UNMAP: return unmap(at<uapi::iommu_ioas_unmap>(argument));
            case uapi::DEVICE_BIND_IOMMUFD: {
                if (!bound_.insert(fd).second) return EINVAL;
                at<uapi::vfio_device_bind_iommufd>(argument).out_devid = next_id_++;
                return 0;
            }
            case uapi::DEVICE_ATTACH_IOMMUFD_PT: {
                const auto& request = at<uapi::vfio_device_attach_iommufd_pt>(argument);
                if (!bound_.contains(fd)) return EINVAL;
                if (!spaces_.contains(request.pt_id)) return ENOENT;
                attached_[fd] = request.pt_id;
                return 0;
            }
            default: return ENOTTY;
        }
    }
    int destroy(std::uint32_t id) {
        for (const auto& [fd, space] : attached_) {
            if (space == id) return EBUSY;
        }
        return spaces_.erase(id) == 1 ? 0 : ENOENT;
    }
    /// Without a device all is usable; a device on x86 takes out the interrupt window and what is too wide.
    int ranges(uapi::iommu_ioas_iova_ranges& request) {
        if (!spaces_.contains(request.ioas_id)) return ENOENT;
        std::vector<uapi::iommu_iova_range> all{{0, ~0ULL}};
        for (const auto& [fd, space] : attached_) {
            if (space == request.ioas_id) all = {{0, 0xfedfffff}, {0xfef00000, (1ULL << 48) - 1}};
        }
        if (list_too_long_) all.resize(1000);
        const std::uint32_t room = request.num_iovas;
        request.num_iovas = static_cast<std::uint32_t>(all.size());
        request.out_iova_alignment = 1;
        for (std::uint32_t i = 0; i < std::min<std::size_t>(room, all.size()); ++i) {
            (&at<uapi::iommu_iova_range>(request.allowed_iovas))[i] = all[i];
        }
        return room < all.size() ? EMSGSIZE : 0;
    }
    int map(const uapi::iommu_ioas_map& request) {
        if (request.size != sizeof request || request.reserved != 0) return EOPNOTSUPP;
        const auto space = spaces_.find(request.ioas_id);
        if (space == spaces_.end()) return ENOENT;
        if (request.length == 0) return EINVAL;
        const auto next = space->second.upper_bound(request.iova + request.length - 1);
        if (next != space->second.begin() &&
            std::prev(next)->first + std::prev(next)->second.size > request.iova) {
            return EEXIST;
        }
        space->second[request.iova] = {request.user_va, request.length, request.flags};
        return 0;
    }
    int unmap(uapi::iommu_ioas_unmap& request) {
        const auto space = spaces_.find(request.ioas_id);
        if (space == spaces_.end()) return ENOENT;
        const std::uint64_t last = request.length == ~0ULL ? ~0ULL : request.iova + request.length - 1;
        std::uint64_t bytes = 0;
        for (auto area = space->second.begin(); area != space->second.end();) {
            const std::uint64_t area_last = area->first + area->second.size - 1;
            if (area_last < request.iova || area->first > last) {
                ++area;
                continue;
            }
            if (area->first < request.iova || area_last > last) return ENOENT;
            bytes += area->second.size;
            area = space->second.erase(area);
        }
        request.length = bytes;
        return bytes == 0 ? ENOENT : 0;
    }
    std::uint32_t next_id_ = 1;
};

}  // namespace holdfast::iommu::host
