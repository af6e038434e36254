// SPDX-License-Identifier: Apache-2.0
// What a virtio IOMMU does with one request of its driver (Virtio 1.2 §5.13.6), apart from the queue it came
// by. There is no bypass: an endpoint that is in no domain reaches nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "iommu/domain.hpp"
#include "iommu/virtio/spec.hpp"

namespace holdfast::iommu::virtio {

/// The longest request, and what a PROBE wants in return.
inline constexpr std::size_t kMostRequest = sizeof(spec::Probe);
inline constexpr std::uint32_t kProbeBytes = 512;
inline constexpr std::size_t kMostAnswer = kProbeBytes + sizeof(spec::Tail);

/// Hears of everything that changes what a device reaches. Called on the guest's device thread.
class Witness {
public:
    Witness() = default;
    Witness(const Witness&) = delete;
    Witness& operator=(const Witness&) = delete;
    virtual ~Witness() = default;

    virtual void granted(std::uint32_t domain, const Mapping& mapping) noexcept = 0;
    virtual void refused(std::uint32_t domain, const Mapping& wanted, Refusal why) noexcept = 0;
    virtual void revoked(std::uint32_t domain, IovaRange range, std::uint64_t mappings) noexcept = 0;
    /// The host did not take something back: cut the devices off and end the VM.
    virtual void lost() noexcept = 0;
};

/// One thread. Endpoints are added before the guest runs.
class GuestIommu {
public:
    /// All borrowed for its life. The limits hold for each domain.
    GuestIommu(const Limits& limits, GuestPages& pages, Witness& witness) noexcept
        : limits_{limits}, pages_{pages}, witness_{witness} {}
    GuestIommu(const GuestIommu&) = delete;
    GuestIommu& operator=(const GuestIommu&) = delete;
    ~GuestIommu() { reset(); }

    /// `id` is what VIOT says of the device; `rule` that of the policy which lets it in.
    void add_endpoint(std::uint32_t id, Space& space, std::uint32_t rule);

    /// Does what a request says; `now_ms` is milliseconds since 1970. Returns how many bytes of `answer` are
    /// for the driver, 0 for a request that is none: then the driver gets nothing back (§5.13.6.2).
    std::size_t serve(std::span<const std::byte> request, std::span<std::byte> answer,
                      std::uint64_t now_ms) noexcept;
    /// The device was reset: no endpoint is in a domain, and nothing is mapped.
    void reset() noexcept;

    [[nodiscard]] const Limits& limits() const noexcept { return limits_; }
    [[nodiscard]] std::size_t domains() const noexcept { return domains_.size(); }
    /// Over all domains.
    [[nodiscard]] Usage usage() const noexcept;
    /// What an endpoint finds at an address.
    [[nodiscard]] std::optional<Mapping> find(std::uint32_t endpoint, Iova address) const noexcept;

private:
    struct Endpoint {
        Space* space = nullptr;
        std::uint32_t rule = 0;
        std::optional<std::uint32_t> domain;
    };
    struct Shared {
        explicit Shared(const Limits& limits, GuestPages& pages) noexcept : domain{limits, pages} {}
        Domain domain;
        std::uint32_t endpoints = 0;
        std::uint32_t rule = 0;
    };

    spec::Status attach(const spec::Attach& request);
    spec::Status detach(const spec::Detach& request);
    spec::Status map(const spec::Map& request, std::uint64_t now_ms);
    spec::Status unmap(const spec::Unmap& request);
    spec::Status probe(const spec::Probe& request, std::span<std::byte> properties) const;
    spec::Status leave(Endpoint& endpoint);
    spec::Status status_of(Refusal refusal) noexcept;

    const Limits limits_;
    GuestPages& pages_;
    Witness& witness_;
    std::map<std::uint32_t, Endpoint> endpoints_;
    /// Only those with an endpoint: the guest makes no more of them than it has devices.
    std::map<std::uint32_t, std::unique_ptr<Shared>> domains_;
};

}  // namespace holdfast::iommu::virtio
