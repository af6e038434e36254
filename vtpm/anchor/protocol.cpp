// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/protocol.hpp"

#include <algorithm>

#include "sys/socket.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::anchor {
namespace {

template <std::size_t N>
void put(WireWriter& writer, const std::array<std::byte, N>& bytes) {
    writer.put_bytes(bytes);
}
void put(WireWriter& writer, const State& state) {
    writer.put(state.version);
    put(writer, state.permanent);
    put(writer, state.volatile_state);
}

template <typename Array>
Result<Array> get_array(WireReader& reader) {
    const auto bytes = HF_TRY(reader.get_bytes());
    Array array{};
    if (bytes.size() != array.size()) return peer_fault("field of another size");
    std::ranges::copy(bytes, array.begin());
    return array;
}
Result<State> get_state(WireReader& reader) {
    State state;
    state.version = HF_TRY(reader.get<std::uint64_t>());
    state.permanent = HF_TRY(get_array<Digest>(reader));
    state.volatile_state = HF_TRY(get_array<Digest>(reader));
    return state;
}
Result<bool> get_bool(WireReader& reader) {
    const auto value = HF_TRY(reader.get<std::uint8_t>());
    if (value > 1) return peer_fault("flag is neither 0 nor 1");
    return value == 1;
}

// One overload a message; the kind in front is the variant's index.
void put(WireWriter& writer, const StartAsk& ask) {
    put(writer, ask.vm);
    put(writer, ask.instance);
    put(writer, ask.tenant);
}
void put(WireWriter& writer, const AttachAsk& ask) {
    put(writer, ask.vm);
    put(writer, ask.instance);
    put(writer, ask.held);
    writer.put(static_cast<std::uint8_t>(ask.pending.has_value()));
    if (ask.pending) put(writer, *ask.pending);
}
void put(WireWriter& writer, const CommitAsk& ask) {
    put(writer, ask.next);
    writer.put(static_cast<std::uint8_t>(ask.strict));
}
void put(WireWriter&, const StopAsk&) {}
void put(WireWriter& writer, const EvidenceAsk& ask) {
    put(writer, ask.vm);
    put(writer, ask.nonce);
}
void put(WireWriter&, const StatusAsk&) {}
void put(WireWriter&, const CheckpointAsk&) {}
void put(WireWriter& writer, const LeafAsk& ask) { put(writer, ask.vm); }
void put(WireWriter& writer, const RoomAsk& ask) { writer.put(static_cast<std::uint8_t>(ask.strict)); }
void put(WireWriter& writer, const BundleAsk& ask) {
    put(writer, ask.bundle);
    writer.put(ask.security_version);
}
void put(WireWriter& writer, const QuoteAsk& ask) { put(writer, ask.about); }
void put(WireWriter&, const KeysAsk&) {}
void put(WireWriter& writer, const Challenge& ask) {
    writer.put_bytes(ask.credential);
    writer.put_bytes(ask.secret);
}
void put(WireWriter& writer, const ReanchorAsk& ask) {
    put(writer, ask.vm);
    put(writer, ask.accepted);
    writer.put_bytes(ask.tenant_key);
    writer.put_bytes(ask.signature);
}

void put(WireWriter& writer, const Granted& answer) {
    put(writer, encode(answer.leaf));
    put(writer, answer.key);
}
void put(WireWriter& writer, const Committed& answer) { writer.put(answer.o); }
void put(WireWriter& writer, const Denied& answer) { writer.put(static_cast<std::uint8_t>(answer.why)); }
void put(WireWriter& writer, const Evidence& answer) { writer.put_bytes(answer.bundle); }
void put(WireWriter& writer, const StatusAnswer& answer) {
    writer.put(answer.o);
    writer.put(answer.s);
    for (const std::uint32_t each :
         {answer.reset_count, answer.vtpms, answer.running, answer.gaps, answer.reanchored})
        writer.put(each);
    writer.put(static_cast<std::uint8_t>(answer.adopted));
    writer.put(static_cast<std::uint8_t>(answer.software_tpm));
    for (const std::uint64_t each :
         {answer.commits, answer.batches, answer.flash_writes, answer.flash_writes_today, answer.daily_budget,
          answer.made_at, answer.started_at}) {
        writer.put(each);
    }
    put(writer, answer.root);
}

void put(WireWriter& writer, const LeafAnswer& answer) {
    put(writer, encode(answer.leaf));
    put(writer, answer.anchor);
}
void put(WireWriter& writer, const Room& answer) { writer.put(static_cast<std::uint8_t>(answer.is_there)); }

void put(WireWriter& writer, const QuoteAnswer& answer) {
    writer.put_bytes(answer.quote.quote.attest);
    writer.put_bytes(answer.quote.quote.signature);
    writer.put(static_cast<std::uint8_t>(answer.quote.banks.size()));
    for (const QuotedBank& bank : answer.quote.banks) {
        writer.put(bank.alg);
        writer.put(bank.pcrs);
        writer.put_bytes(bank.values);
    }
    writer.put_bytes(answer.key);
}

void put(WireWriter& writer, const HostKeys& answer) {
    writer.put_bytes(answer.endorsement);
    writer.put_bytes(answer.certificate);
    writer.put_bytes(answer.attestation);
}
void put(WireWriter& writer, const Activated& answer) { writer.put_bytes(answer.credential); }

template <typename Variant>
std::vector<std::byte> encode_variant(const Variant& message) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(message.index()));
    std::visit([&](const auto& each) { put(writer, each); }, message);
    return {writer.bytes().begin(), writer.bytes().end()};
}

template <typename Message, typename Variant>
constexpr std::uint8_t index_of() {
    return static_cast<std::uint8_t>(Variant{Message{}}.index());
}

Result<AttachAsk> get_attach(WireReader& reader) {
    AttachAsk ask;
    ask.vm = HF_TRY(get_array<VmId>(reader));
    ask.instance = HF_TRY(get_array<InstanceId>(reader));
    ask.held = HF_TRY(get_state(reader));
    if (HF_TRY(get_bool(reader))) ask.pending = HF_TRY(get_state(reader));
    return ask;
}

Result<std::vector<std::byte>> get_bytes(WireReader& reader, std::size_t most) {
    const auto bytes = HF_TRY(reader.get_bytes());
    if (bytes.size() > most) return peer_fault("field too long");
    return std::vector<std::byte>{bytes.begin(), bytes.end()};
}
Result<ReanchorAsk> get_reanchor(WireReader& reader) {
    ReanchorAsk ask;
    ask.vm = HF_TRY(get_array<VmId>(reader));
    ask.accepted = HF_TRY(get_state(reader));
    ask.tenant_key = HF_TRY(get_bytes(reader, kMaxPublicKey));
    ask.signature = HF_TRY(get_bytes(reader, kMaxSignature));
    return ask;
}

Result<Leaf> get_leaf(WireReader& reader) { return decode_leaf(HF_TRY(get_array<LeafBytes>(reader))); }

Result<StatusAnswer> get_status(WireReader& reader) {
    StatusAnswer answer;
    answer.o = HF_TRY(reader.get<std::uint64_t>());
    answer.s = HF_TRY(reader.get<std::uint64_t>());
    for (auto* each :
         {&answer.reset_count, &answer.vtpms, &answer.running, &answer.gaps, &answer.reanchored}) {
        *each = HF_TRY(reader.get<std::uint32_t>());
    }
    answer.adopted = HF_TRY(get_bool(reader));
    answer.software_tpm = HF_TRY(get_bool(reader));
    for (auto* each : {&answer.commits, &answer.batches, &answer.flash_writes, &answer.flash_writes_today,
                       &answer.daily_budget, &answer.made_at, &answer.started_at}) {
        *each = HF_TRY(reader.get<std::uint64_t>());
    }
    answer.root = HF_TRY(get_array<Digest>(reader));
    return answer;
}

Result<QuoteAnswer> get_quote(WireReader& reader) {
    QuoteAnswer answer;
    answer.quote.quote.attest = HF_TRY(get_bytes(reader, kMaxAnswerBytes));
    answer.quote.quote.signature = HF_TRY(get_bytes(reader, kMaxAnswerBytes));
    const auto banks = HF_TRY(reader.get<std::uint8_t>());
    for (std::uint8_t i = 0; i < banks; ++i) {
        QuotedBank bank{.alg = HF_TRY(reader.get<std::uint16_t>())};
        bank.pcrs = HF_TRY(reader.get<std::uint32_t>());
        bank.values = HF_TRY(get_bytes(reader, kMaxAnswerBytes));
        answer.quote.banks.push_back(std::move(bank));
    }
    answer.key = HF_TRY(get_bytes(reader, kMaxAnswerBytes));
    return answer;
}

Result<Ask> get_ask(WireReader& reader) {
    switch (HF_TRY(reader.get<std::uint8_t>())) {
        case index_of<StartAsk, Ask>(): {
            StartAsk ask;
            ask.vm = HF_TRY(get_array<VmId>(reader));
            ask.instance = HF_TRY(get_array<InstanceId>(reader));
            ask.tenant = HF_TRY(get_array<Digest>(reader));
            return Ask{ask};
        }
        case index_of<AttachAsk, Ask>(): return Ask{HF_TRY(get_attach(reader))};
        case index_of<CommitAsk, Ask>(): {
            CommitAsk ask;
            ask.next = HF_TRY(get_state(reader));
            ask.strict = HF_TRY(get_bool(reader));
            return Ask{ask};
        }
        case index_of<StopAsk, Ask>(): return Ask{StopAsk{}};
        case index_of<EvidenceAsk, Ask>(): {
            EvidenceAsk ask;
            ask.vm = HF_TRY(get_array<VmId>(reader));
            ask.nonce = HF_TRY(get_array<Digest>(reader));
            return Ask{ask};
        }
        case index_of<StatusAsk, Ask>(): return Ask{StatusAsk{}};
        case index_of<CheckpointAsk, Ask>(): return Ask{CheckpointAsk{}};
        case index_of<LeafAsk, Ask>(): return Ask{LeafAsk{HF_TRY(get_array<VmId>(reader))}};
        case index_of<ReanchorAsk, Ask>(): return Ask{HF_TRY(get_reanchor(reader))};
        case index_of<RoomAsk, Ask>(): return Ask{RoomAsk{.strict = HF_TRY(get_bool(reader))}};
        case index_of<BundleAsk, Ask>(): {
            BundleAsk ask;
            ask.bundle = HF_TRY(get_array<VmId>(reader));
            ask.security_version = HF_TRY(reader.get<std::uint64_t>());
            return Ask{ask};
        }
        case index_of<QuoteAsk, Ask>(): return Ask{QuoteAsk{HF_TRY(get_array<Digest>(reader))}};
        case index_of<KeysAsk, Ask>(): return Ask{KeysAsk{}};
        case index_of<Challenge, Ask>(): {
            Challenge ask;
            ask.credential = HF_TRY(get_bytes(reader, kMaxAskBytes));
            ask.secret = HF_TRY(get_bytes(reader, kMaxAskBytes));
            return Ask{std::move(ask)};
        }
        default: return peer_fault("unknown question to the anchor");
    }
}

Result<Answer> get_answer(WireReader& reader) {
    switch (HF_TRY(reader.get<std::uint8_t>())) {
        case index_of<Granted, Answer>(): {
            Granted answer;
            answer.leaf = HF_TRY(get_leaf(reader));
            answer.key = HF_TRY(get_array<std::array<std::byte, kVmKeyBytes>>(reader));
            return Answer{answer};
        }
        case index_of<Committed, Answer>(): return Answer{Committed{HF_TRY(reader.get<std::uint64_t>())}};
        case index_of<Denied, Answer>(): {
            const auto why = HF_TRY(reader.get<std::uint8_t>());
            if (why == 0 || why > static_cast<std::uint8_t>(Denial::NotForThisTpm))
                return peer_fault("unknown denial");
            return Answer{Denied{static_cast<Denial>(why)}};
        }
        case index_of<Evidence, Answer>(): {
            const auto bundle = HF_TRY(reader.get_bytes());
            return Answer{Evidence{{bundle.begin(), bundle.end()}}};
        }
        case index_of<StatusAnswer, Answer>(): return Answer{HF_TRY(get_status(reader))};
        case index_of<LeafAnswer, Answer>(): {
            LeafAnswer answer;
            answer.leaf = HF_TRY(get_leaf(reader));
            answer.anchor = HF_TRY(get_array<Digest>(reader));
            return Answer{answer};
        }
        case index_of<Room, Answer>(): return Answer{Room{HF_TRY(get_bool(reader))}};
        case index_of<QuoteAnswer, Answer>(): return Answer{HF_TRY(get_quote(reader))};
        case index_of<HostKeys, Answer>(): {
            HostKeys answer;
            for (auto* each : {&answer.endorsement, &answer.certificate, &answer.attestation}) {
                *each = HF_TRY(get_bytes(reader, kMaxAnswerBytes));
            }
            return Answer{std::move(answer)};
        }
        case index_of<Activated, Answer>():
            return Answer{Activated{HF_TRY(get_bytes(reader, kMaxAnswerBytes))}};
        default: return peer_fault("unknown answer of the anchor");
    }
}

}  // namespace

const char* denial_words(Denial denial) noexcept {
    switch (denial) {
        case Denial::AlreadyRunning: return "a worker of this vTPM is connected already";
        case Denial::NotHere: return "this vTPM was exported, moved or retired";
        case Denial::NotYours: return "another instance of this vTPM was started since";
        case Denial::StateDiffers: return "the state held is not the one that the ledger names";
        case Denial::WrongVersion: return "not the next version";
        case Denial::OverBudget: return "over the budget of stores";
        case Denial::NotStarted: return "no vTPM was started on this connection";
        case Denial::UnknownVm: return "the ledger does not know this vTPM";
        case Denial::Full: return "the ledger is full";
        case Denial::NotSigned:
            return "not signed by the key that this vTPM was made with, or another statement was signed";
        case Denial::OlderBundle:
            return "a bundle of this name and key with a higher security version was launched here";
        case Denial::NotForThisTpm: return "the challenge was not made for the keys of this host's TPM";
    }
    return "";
}

std::vector<std::byte> encode(const Ask& ask) { return encode_variant(ask); }
std::vector<std::byte> encode(const Answer& answer) { return encode_variant(answer); }

Result<Ask> decode_ask(std::span<const std::byte> bytes) {
    WireReader reader{bytes};
    Ask ask = HF_TRY(get_ask(reader));
    HF_TRY(reader.expect_end());
    return ask;
}

Result<Answer> decode_answer(std::span<const std::byte> bytes) {
    WireReader reader{bytes};
    Answer answer = HF_TRY(get_answer(reader));
    HF_TRY(reader.expect_end());
    return answer;
}

Result<Answer> ask(const UniqueFd& anchor, const Ask& question) {
    HF_TRY(send_message(anchor, encode(question)));
    Message message = HF_TRY(receive_message(anchor, kMaxAnswerBytes));
    if (message.bytes.empty()) return peer_fault("the anchor has gone");
    auto answer = decode_answer(message.bytes);
    wipe(message.bytes);
    return answer;
}

}  // namespace holdfast::anchor
