// SPDX-License-Identifier: Apache-2.0
#include "iommu/virtio/guest_iommu.hpp"

#include <algorithm>
#include <cstring>

namespace holdfast::iommu::virtio {

using namespace spec;

namespace {

/// A request as its own type. Longer is fine (§5.13.6): the driver may know fields that we do not.
template <typename T>
std::optional<T> as(std::span<const std::byte> request) noexcept {
    T value{};
    if (request.size() < sizeof value) return std::nullopt;
    std::memcpy(&value, request.data(), sizeof value);
    return value;
}

/// Appends one RESV_MEM; false when there is no room.
bool put_reserved(std::span<std::byte>& room, IovaRange range, std::uint8_t subtype) noexcept {
    const ResvMem property{.type = PROBE_T_RESV_MEM,
                           .length = sizeof(ResvMem) - 4,
                           .subtype = subtype,
                           .start = range.first.value(),
                           .end = range.last.value()};
    if (room.size() < sizeof property) return false;
    std::memcpy(room.data(), &property, sizeof property);
    room = room.subspan(sizeof property);
    return true;
}

}  // namespace

void GuestIommu::add_endpoint(std::uint32_t id, Space& space, std::uint32_t rule, const Limits& limits) {
    const Lock hold{lock_};
    endpoints_[id] = {.space = &space, .rule = rule, .limits = limits, .domain = {}};
}

std::size_t GuestIommu::serve(std::span<const std::byte> request, std::span<std::byte> answer,
                              std::uint64_t now_ms) noexcept {
    const Lock hold{lock_};
    const auto head = as<Head>(request);
    if (!head || answer.size() < sizeof(Tail)) return 0;
    Tail tail{.status = S_INVAL};
    std::size_t before_tail = 0;
    switch (head->type) {
        case T_ATTACH:
            if (const auto wanted = as<Attach>(request)) tail.status = attach(*wanted);
            break;
        case T_DETACH:
            if (const auto wanted = as<Detach>(request)) tail.status = detach(*wanted);
            break;
        case T_MAP:
            if (const auto wanted = as<spec::Map>(request)) tail.status = map(*wanted, now_ms);
            break;
        case T_UNMAP:
            if (const auto wanted = as<Unmap>(request)) tail.status = unmap(*wanted);
            break;
        case T_PROBE: {
            const auto wanted = as<Probe>(request);
            if (!wanted || answer.size() < kMostAnswer) break;
            before_tail = kProbeBytes;
            tail.status = probe(*wanted, answer.first(kProbeBytes));
            break;
        }
        default: return 0;
    }
    std::memcpy(answer.data() + before_tail, &tail, sizeof tail);
    return before_tail + sizeof tail;
}

Status GuestIommu::status_of(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Misaligned:
        case Refusal::OutOfRange:
        case Refusal::WouldSplit: return S_RANGE;
        case Refusal::Reserved:
        case Refusal::Overlap:
        case Refusal::NotMemory: return S_INVAL;
        case Refusal::TooManyMappings:
        case Refusal::TooManyBytes: return S_NOMEM;
        case Refusal::HostRefused: return S_DEVERR;
        case Refusal::Lost: witness_.lost(); return S_IOERR;
    }
    return S_DEVERR;
}

Status GuestIommu::attach(const Attach& request) {
    // The one flag that exists asks for bypass.
    if (request.reserved.get() != 0 || request.flags.get() != 0) return S_INVAL;
    const auto found = endpoints_.find(request.endpoint.get());
    if (found == endpoints_.end()) return S_NOENT;
    Endpoint& endpoint = found->second;
    const std::uint32_t wanted = request.domain.get();
    if (endpoint.domain == wanted) return S_OK;
    if (const Status left = leave(found->first, endpoint); left != S_OK) return left;
    auto& shared = domains_[wanted];
    if (!shared) {
        shared = std::make_unique<Shared>(endpoint.limits, pages_);
        shared->rule = endpoint.rule;
    }
    if (const auto narrowed = shared->domain.narrow(endpoint.limits); !narrowed)
        return status_of(narrowed.error());
    if (const auto attached = shared->domain.attach(*endpoint.space); !attached) {
        const Status status = status_of(attached.error());
        if (shared->endpoints == 0) domains_.erase(wanted);
        return status;
    }
    ++shared->endpoints;
    endpoint.domain = wanted;
    witness_.moved(found->first, wanted, shared->domain.usage().mappings);
    return S_OK;
}

/// Out of its domain; with the last endpoint goes the domain and all that it maps.
Status GuestIommu::leave(std::uint32_t id, Endpoint& endpoint) {
    if (!endpoint.domain) return S_OK;
    witness_.moved(id, std::nullopt, 0);
    const std::uint32_t number = *endpoint.domain;
    const auto at = domains_.find(number);
    Shared& shared = *at->second;
    if (const auto detached = shared.domain.detach(*endpoint.space); !detached)
        return status_of(detached.error());
    endpoint.domain.reset();
    if (--shared.endpoints == 0) {
        witness_.revoked(number, {Iova{0}, Iova{~0ULL}}, shared.domain.usage().mappings);
        domains_.erase(at);
    }
    return S_OK;
}

Status GuestIommu::detach(const Detach& request) {
    if (request.reserved.get() != 0) return S_INVAL;
    const auto found = endpoints_.find(request.endpoint.get());
    if (found == endpoints_.end()) return S_NOENT;
    if (found->second.domain != request.domain.get()) return S_INVAL;
    return leave(found->first, found->second);
}

Status GuestIommu::map(const spec::Map& request, std::uint64_t now_ms) {
    const std::uint32_t number = request.domain.get();
    const auto at = domains_.find(number);
    if (at == domains_.end()) return S_NOENT;
    const std::uint32_t flags = request.flags.get();
    if (flags == 0 || (flags & ~(MAP_F_READ | MAP_F_WRITE)) != 0) return S_INVAL;
    if (request.virt_end.get() < request.virt_start.get()) return S_RANGE;
    const Mapping wanted{.start = Iova{request.virt_start.get()},
                         .size = request.virt_end.get() - request.virt_start.get() + 1,
                         .target = GuestAddr{request.phys_start.get()},
                         .granted_at = now_ms,
                         .rule = at->second->rule,
                         .access = (flags & MAP_F_WRITE) != 0 ? Access::ReadWrite : Access::Read};
    if (const auto mapped = at->second->domain.map(wanted); !mapped) {
        witness_.refused(number, wanted, mapped.error());
        return status_of(mapped.error());
    }
    witness_.granted(number, wanted);
    return S_OK;
}

Status GuestIommu::unmap(const Unmap& request) {
    if (request.reserved.get() != 0) return S_INVAL;
    const std::uint32_t number = request.domain.get();
    const auto at = domains_.find(number);
    if (at == domains_.end()) return S_NOENT;
    const IovaRange range{Iova{request.virt_start.get()}, Iova{request.virt_end.get()}};
    const auto gone = at->second->domain.unmap(range);
    if (!gone) return status_of(gone.error());
    if (*gone != 0) witness_.revoked(number, range, *gone);
    return S_OK;
}

/// What cannot be mapped below the input range's end: the interrupt window, and the host's other holes.
Status GuestIommu::probe(const Probe& request, std::span<std::byte> properties) const {
    std::ranges::fill(properties, std::byte{0});
    const auto found = endpoints_.find(request.endpoint.get());
    if (found == endpoints_.end()) return S_NOENT;
    std::span<std::byte> room = properties;
    put_reserved(room, kMsiWindow, RESV_MEM_T_MSI);
    std::uint64_t from = 0;
    for (const IovaRange usable : found->second.space->usable()) {
        const IovaRange hole{Iova{from}, Iova{usable.first.value() - 1}};
        if (usable.first.value() > from && !kMsiWindow.contains(hole)) {
            // A hole that no longer fits is still refused, by MAP.
            if (!put_reserved(room, hole, RESV_MEM_T_RESERVED)) break;
        }
        from = usable.last.value() + 1;
    }
    return S_OK;
}

void GuestIommu::reset() noexcept {
    const Lock hold{lock_};
    for (auto& [id, endpoint] : endpoints_) static_cast<void>(leave(id, endpoint));
}

std::size_t GuestIommu::domains() const noexcept {
    const Lock hold{lock_};
    return domains_.size();
}

Usage GuestIommu::usage() const noexcept {
    const Lock hold{lock_};
    Usage sum;
    for (const auto& [number, shared] : domains_) {
        sum.mappings += shared->domain.usage().mappings;
        sum.bytes += shared->domain.usage().bytes;
    }
    return sum;
}

std::optional<Mapping> GuestIommu::find(std::uint32_t endpoint, Iova address) const noexcept {
    const Lock hold{lock_};
    const auto found = endpoints_.find(endpoint);
    if (found == endpoints_.end() || !found->second.domain) return std::nullopt;
    return domains_.at(*found->second.domain)->domain.find(address);
}

}  // namespace holdfast::iommu::virtio
