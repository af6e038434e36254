// SPDX-License-Identifier: Apache-2.0
#include "vtpm/state/keeper.hpp"

namespace holdfast::vtpm {

Result<std::optional<StateBlob>> Keeper::open() {
    auto stored = HF_TRY(store_.open());
    using store::Status;
    if (stored.status == Status::Locked) return std::optional<StateBlob>{};
    if (stored.status == Status::Damaged) return input_error("the state file is damaged");
    StateBlob plain;
    if (stored.status == Status::Ok) {
        auto opened = HF_TRY(sealer_.open(SealedType::Permanent, stored.sealed));
        // The number outside is the service's word, the one inside is sealed.
        if (opened.version != stored.version) return input_error("the state's version is not the sealed one");
        plain = std::move(opened.plain);
    }
    version_ = stored.version;
    open_ = true;
    return std::optional{std::move(plain)};
}

Result<void> Keeper::commit(std::span<const std::byte> permanent) {
    if (!open_) return input_error("the state is not this process's");
    const auto sealed = HF_TRY(sealer_.seal(SealedType::Permanent, version_ + 1, permanent));
    HF_TRY(commit_.commit(version_ + 1, sealed));
    ++version_;
    return {};
}

Result<void> Keeper::release() {
    open_ = false;
    return store_.release();
}

}  // namespace holdfast::vtpm
