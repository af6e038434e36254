// SPDX-License-Identifier: Apache-2.0
#include "vtpm/state/store_client.hpp"

#include <cstring>

#include "vtpm/store/stream.hpp"

namespace holdfast::vtpm {

using store::Operation;
using store::Status;

Result<StoreClient::Opened> StoreClient::ask(Operation operation, std::uint64_t version,
                                             std::span<const std::byte> blob) {
    store::Head head{.operation = static_cast<std::uint32_t>(operation),
                     .length = static_cast<std::uint32_t>(blob.size()),
                     .version = version};
    request_.resize(sizeof head + blob.size());
    std::memcpy(request_.data(), &head, sizeof head);
    if (!blob.empty()) std::memcpy(request_.data() + sizeof head, blob.data(), blob.size());
    HF_TRY(write_all(socket_, request_));

    const auto read = [&](std::span<std::byte> bytes) -> Result<void> {
        if (!HF_TRY(store::read_or_end(socket_, bytes))) return peer_fault("the state service is gone");
        return {};
    };
    HF_TRY(read(std::as_writable_bytes(std::span{&head, 1})));
    if (head.length.get() > store::kMaxBlob) return peer_fault("the state service sends too much");
    Opened answer{.status = static_cast<Status>(head.operation.get()),
                  .version = head.version.get(),
                  .sealed = std::vector<std::byte>(head.length.get())};
    HF_TRY(read(answer.sealed));
    return answer;
}

Result<StoreClient::Opened> StoreClient::open() {
    auto answer = HF_TRY(ask(Operation::Open, 0, {}));
    switch (answer.status) {
        case Status::Ok:
        case Status::Empty:
        case Status::Locked:
        case Status::Damaged: return answer;
        case Status::Refused: break;
    }
    return peer_fault("the state service refuses to open the state");
}

Result<StoreClient::Opened> StoreClient::go_back() {
    auto answer = HF_TRY(ask(Operation::GoBack, 0, {}));
    if (answer.status == Status::Damaged) return input_error("the newest state is gone from its file");
    if (answer.status != Status::Ok) return peer_fault("the state service does not go back");
    return answer;
}

Result<Outcome> StoreClient::commit(std::uint64_t version, std::span<const std::byte> sealed) {
    const auto answer = HF_TRY(ask(Operation::Write, version, sealed));
    if (answer.status != Status::Ok || answer.version != version) {
        return peer_fault("the state service refuses a version");
    }
    return Outcome::Newest;
}

Result<void> StoreClient::release() {
    const auto answer = HF_TRY(ask(Operation::Release, 0, {}));
    if (answer.status != Status::Ok) return peer_fault("the state service does not release the state");
    return {};
}

}  // namespace holdfast::vtpm
