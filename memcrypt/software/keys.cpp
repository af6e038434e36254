// SPDX-License-Identifier: Apache-2.0
// The VM's keys. No key seals more pages than its suite bears: before that, pages still sealed with the key
// before the present one are sealed anew, that key is overwritten by a fresh one, and the two change places.
#include <algorithm>

#include "memcrypt/software/pager.hpp"

namespace holdfast::memcrypt::software {

/// Makes sure that the worker's cipher has the key of `epoch`.
void Pager::sync_key(Worker& worker, std::uint8_t epoch) {
    const Lock hold{lock_};
    if (worker.key_numbers[epoch] == key_numbers_[epoch]) return;
    worker.ciphers[epoch]->set_key(keys_[epoch]);
    worker.key_numbers[epoch] = key_numbers_[epoch];
}

/// The epoch to seal with, its key at hand. It counts so many pages as sealed with it: a key is not replaced
/// while somebody seals.
std::uint8_t Pager::begin_sealing(Worker& worker, std::uint32_t pages) {
    std::uint8_t epoch = 0;
    {
        const Lock hold{lock_};
        epoch = epoch_;
        sealed_with_[epoch] += pages;
        sealings_left_ -= std::min<std::uint64_t>(sealings_left_, pages);
    }
    sync_key(worker, epoch);
    return epoch;
}

Result<void> Pager::change_key_if_due(Worker& worker) {
    std::uint8_t other = 0;
    {
        const Lock hold{lock_};
        if (sealings_left_ > 0) return {};
        other = 1 - epoch_;
    }
    for (std::uint32_t page = 0; page < pages_.size(); ++page) {
        {
            const Lock hold{lock_};
            if (sealed_with_[other] == 0) break;
            if (pages_.state(page) != PageState::Sealed || pages_.epoch(page) != other) continue;
            pages_.set_state(page, PageState::Opening);
        }
        HF_TRY(reseal(worker, page, other));
    }
    const Lock hold{lock_};
    // A page that was just being opened or sealed with it: next time.
    if (sealed_with_[other] > 0) return {};
    HF_TRY(keys_[other].renew());
    key_numbers_[other] = key_numbers_[epoch_] + 1;
    epoch_ = other;
    sealings_left_ = config_.pages_per_key;
    counters_.keys.add();
    return {};
}

/// A sealed page that is ours (Opening), without its plaintext ever being in its frame.
Result<void> Pager::reseal(Worker& worker, std::uint32_t page, std::uint8_t from) {
    sync_key(worker, from);
    if (!worker.ciphers[from]->open(identity(page), views_.frame(page), worker.buffer(), pages_.tag(page))) {
        return tampered(page);
    }
    const std::uint8_t epoch = begin_sealing(worker, 1);
    ++pages_.version(page);
    Tag tag;
    worker.ciphers[epoch]->seal(identity(page), worker.buffer(), tag);
    std::ranges::copy(worker.buffer(), views_.frame(page).begin());
    {
        const Lock hold{lock_};
        pages_.tag(page) = tag;
        pages_.epoch(page) = epoch;
        --sealed_with_[from];
        pages_.set_state(page, PageState::Sealed);
    }
    // Who touched it meanwhile was told that it would be mapped soon.
    return views_.wake(page);
}

}  // namespace holdfast::memcrypt::software
