// SPDX-License-Identifier: Apache-2.0
// What a virtio IOMMU does with one request of its driver (Virtio 1.2 §5.13.6), apart from the queue it came
// by. There is no bypass: an endpoint that is in no domain reaches nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "iommu/domain.hpp"
#include "iommu/virtio/spec.hpp"
#include "sys/thread.hpp"

namespace holdfast::iommu::virtio {

/// The longest request, and what a PROBE wants in return.
inline constexpr std::size_t kMostRequest = sizeof(spec::Probe);
inline constexpr std::uint32_t kProbeBytes = 512;
inline constexpr std::size_t kMostAnswer = kProbeBytes + sizeof(spec::Tail);

/// Hears of everything that changes what a device reaches. Called on the guest's device thread, with the lock
/// of the GuestIommu held: it must not be asked anything.
class Witness {
public:
    Witness() = default;
    Witness(const Witness&) = delete;
    Witness& operator=(const Witness&) = delete;
    virtual ~Witness() = default;

    virtual void granted(std::uint32_t domain, const Mapping& mapping) noexcept = 0;
    virtual void refused(std::uint32_t domain, const Mapping& wanted, Refusal why) noexcept = 0;
    virtual void revoked(std::uint32_t domain, IovaRange range, std::uint64_t mappings) noexcept = 0;
    /// An endpoint is in this domain from now on, which has so many mappings; or it is about to leave the one
    /// it is in (none).
    virtual void moved(std::uint32_t /*endpoint*/, std::optional<std::uint32_t> /*domain*/,
                       std::uint64_t /*mappings*/) noexcept {}
    /// The host did not take something back: cut the devices off and end the VM.
    virtual void lost() noexcept = 0;
};

/// Any thread; a request may take as long as the host's IOMMU and the guest's memory do. Endpoints are added
/// before the guest runs.
class GuestIommu {
public:
    /// Both borrowed for its life.
    GuestIommu(GuestPages& pages, Witness& witness) noexcept : pages_{pages}, witness_{witness} {}
    GuestIommu(const GuestIommu&) = delete;
    GuestIommu& operator=(const GuestIommu&) = delete;
    ~GuestIommu() { reset(); }

    /// `id` is what VIOT says of the device; `rule` that of the policy which lets it in, with these limits. A
    /// domain has the lowest of its endpoints', also of those that have left it.
    void add_endpoint(std::uint32_t id, Space& space, std::uint32_t rule, const Limits& limits);

    /// Does what a request says; `now_ms` is milliseconds since 1970. Returns how many bytes of `answer` are
    /// for the driver, 0 for a request that is none: then the driver gets nothing back (§5.13.6.2).
    std::size_t serve(std::span<const std::byte> request, std::span<std::byte> answer,
                      std::uint64_t now_ms) noexcept HF_EXCLUDES(lock_);
    /// The device was reset: no endpoint is in a domain, and nothing is mapped.
    void reset() noexcept HF_EXCLUDES(lock_);

    [[nodiscard]] std::size_t domains() const noexcept HF_EXCLUDES(lock_);
    /// Over all domains.
    [[nodiscard]] Usage usage() const noexcept HF_EXCLUDES(lock_);
    /// What an endpoint finds at an address.
    [[nodiscard]] std::optional<Mapping> find(std::uint32_t endpoint, Iova address) const noexcept
        HF_EXCLUDES(lock_);

private:
    struct Endpoint {
        Space* space = nullptr;
        std::uint32_t rule = 0;
        Limits limits;
        std::optional<std::uint32_t> domain;
    };
    struct Shared {
        explicit Shared(const Limits& limits, GuestPages& pages) noexcept : domain{limits, pages} {}
        Domain domain;
        std::uint32_t endpoints = 0;
        std::uint32_t rule = 0;
    };

    spec::Status attach(const spec::Attach& request) HF_REQUIRES(lock_);
    spec::Status detach(const spec::Detach& request) HF_REQUIRES(lock_);
    spec::Status map(const spec::Map& request, std::uint64_t now_ms) HF_REQUIRES(lock_);
    spec::Status unmap(const spec::Unmap& request) HF_REQUIRES(lock_);
    spec::Status probe(const spec::Probe& request, std::span<std::byte> properties) const HF_REQUIRES(lock_);
    spec::Status leave(std::uint32_t id, Endpoint& endpoint) HF_REQUIRES(lock_);
    spec::Status status_of(Refusal refusal) noexcept;

    GuestPages& pages_;
    Witness& witness_;
    mutable Mutex lock_;
    std::map<std::uint32_t, Endpoint> endpoints_ HF_GUARDED_BY(lock_);
    /// Only those with an endpoint: the guest makes no more of them than it has devices.
    std::map<std::uint32_t, std::unique_ptr<Shared>> domains_ HF_GUARDED_BY(lock_);
};

}  // namespace holdfast::iommu::virtio
