// SPDX-License-Identifier: Apache-2.0
// A vTPM in one process for fuzz targets: real libtpms, real state service on a memfd, one for all inputs.
#pragma once

#include <cstdlib>
#include <memory>
#include <thread>

#include "sys/socket.hpp"
#include "vtpm/service.hpp"
#include "vtpm/store/session.hpp"

namespace holdfast::fuzz {

template <typename T>
T must(Result<T> result) {
    if (!result) std::abort();
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

struct VtpmWorld {
    VtpmWorld() {
        auto [client, server] = must(socket_pair(SOCK_STREAM));
        const UniqueFd file = must(sealed_memfd("state", vtpm::store::kFileBytes));
        const vtpm::Identity who{.id = {}, .name = "fuzz"};
        vtpm::store::FileDisk disk{must(file.duplicate())};
        must(vtpm::store::format(disk, {.identity = who, .created = 0}));
        // For the whole life of the fuzzer; ends with it.
        std::thread{[socket = std::move(server), state = must(file.duplicate())]() mutable {
            must(vtpm::store::Session{std::move(socket), std::move(state)}.run());
        }}.detach();
        store = std::make_unique<vtpm::StoreClient>(std::move(client));
        keeper = std::make_unique<vtpm::Keeper>(
            vtpm::Sealer{must(SecretBytes::create(vtpm::kStateKeyBytes)), who}, *store, *store);
        engine = must(vtpm::Engine::create());
        service = std::make_unique<vtpm::Service>(*engine, *keeper, vtpm::Start::Create);
        must(service->prepare());
    }
    static VtpmWorld& the() {
        static VtpmWorld& world = *new VtpmWorld;  // never destroyed: its thread is not either
        return world;
    }
    std::unique_ptr<vtpm::StoreClient> store;
    std::unique_ptr<vtpm::Keeper> keeper;
    std::unique_ptr<vtpm::Engine> engine;
    std::unique_ptr<vtpm::Service> service;
};

}  // namespace holdfast::fuzz
