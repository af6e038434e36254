// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/schema.hpp"

#include <algorithm>

namespace holdfast::control::schema {
namespace {

constexpr std::string_view kMetaTypes[] = {"builtin", "enum", "array", "object", "command", "event"};
constexpr std::string_view kTargets[] = {"x86_64"};

constexpr Member kCapabilitiesArguments[] = {{"enable", "[QMPCapability]", true}};
constexpr Member kVersionTriple[] = {{"major", "int"}, {"minor", "int"}, {"micro", "int"}};
constexpr Member kVersionInfo[] = {{"qemu", "VersionTriple"}, {"package", "str"}};
constexpr Member kNameInfo[] = {{"name", "str", true}};
constexpr Member kCommandInfo[] = {{"name", "str"}};
constexpr Member kKvmInfo[] = {{"enabled", "bool"}, {"present", "bool"}};
constexpr Member kStatusInfo[] = {{"running", "bool"}, {"status", "RunState"}};
constexpr Member kCpuProperties[] = {{"socket-id", "int"}, {"core-id", "int"}, {"thread-id", "int"}};
constexpr Member kCpuInfoFast[] = {{"cpu-index", "int"},
                                   {"qom-path", "str"},
                                   {"thread-id", "int"},
                                   {"props", "CpuInstanceProperties"},
                                   {"target", "SysEmuTarget"}};
constexpr Member kImageInfo[] = {{"filename", "str"}, {"format", "str"}, {"virtual-size", "int"}};
constexpr Member kBlockDeviceInfo[] = {
    {"file", "str"}, {"drv", "str"}, {"ro", "bool"}, {"image", "ImageInfo"}};
constexpr Member kBlockInfo[] = {{"device", "str"},
                                 {"type", "str"},
                                 {"removable", "bool"},
                                 {"locked", "bool"},
                                 {"inserted", "BlockDeviceInfo", true}};
constexpr Member kBlockStatsArguments[] = {{"query-nodes", "bool", true}};
constexpr Member kBlockDeviceStats[] = {{"rd_operations", "int"},      {"rd_bytes", "int"},
                                        {"rd_total_time_ns", "int"},   {"wr_operations", "int"},
                                        {"wr_bytes", "int"},           {"wr_total_time_ns", "int"},
                                        {"flush_operations", "int"},   {"flush_total_time_ns", "int"},
                                        {"unmap_operations", "int"},   {"unmap_bytes", "int"},
                                        {"unmap_total_time_ns", "int"}};
constexpr Member kBlockStats[] = {{"device", "str"}, {"stats", "BlockDeviceStats"}};
constexpr Member kChardevInfo[] = {{"label", "str"}, {"filename", "str"}, {"frontend-open", "bool"}};
constexpr Member kMemcryptPages[] = {
    {"total", "int"},     {"window", "int"}, {"clear", "int"},  {"grace", "int"},    {"sealed", "int"},
    {"untouched", "int"}, {"zero", "int"},   {"exempt", "int"}, {"poisoned", "int"}, {"most-clear", "int"}};
constexpr Member kMemcryptFaults[] = {
    {"fresh", "int"}, {"sealed", "int"}, {"grace", "int"}, {"raced", "int"}, {"latency-ns-log2", "[int]"}};
constexpr Member kMemcryptAhead[] = {{"opened", "int"}, {"useful", "int"}, {"neighbours", "int"}};
constexpr Member kMemcryptSeals[] = {
    {"opened", "int"}, {"sealed", "int"}, {"seal-ns", "int"}, {"keys", "int"}};
constexpr Member kMemcryptInfo[] = {{"tier", "str"},
                                    {"suite", "str", true},
                                    {"seal-after-ms", "int", true},
                                    {"page-size", "int", true},
                                    {"pages", "MemcryptPages", true},
                                    {"faults", "MemcryptFaults", true},
                                    {"prefetch", "MemcryptPrefetch", true},
                                    {"cipher", "MemcryptCipher", true}};
constexpr Member kDeviceGrantsArguments[] = {{"iova", "int"}};
constexpr Member kDeviceGrant[] = {{"device", "str"},          {"rule", "int"},
                                   {"mapped", "bool"},         {"start", "int", true},
                                   {"size", "int", true},      {"target", "int", true},
                                   {"writable", "bool", true}, {"granted-at-ms", "int", true}};
constexpr Member kShutdownEvent[] = {{"guest", "bool"}, {"reason", "ShutdownCause"}};
constexpr Member kPanickedEvent[] = {{"action", "GuestPanicAction"}};
constexpr Member kSchemaMember[] = {{"name", "str"}, {"type", "str", true}, {"default", "any", true}};
constexpr Member kSchemaInfo[] = {{"name", "str"},
                                  {"meta-type", "SchemaMetaType"},
                                  {"json-type", "str", true},
                                  {"values", "[str]", true},
                                  {"members", "[SchemaInfoMember]", true},
                                  {"element-type", "str", true},
                                  {"arg-type", "str", true},
                                  {"ret-type", "str", true},
                                  {"allow-oob", "bool", true}};

constexpr Type builtin(std::string_view name, std::string_view json) { return {name, Meta::Builtin, json}; }
constexpr Type enumeration(std::string_view name, std::span<const std::string_view> values) {
    return {name, Meta::Enum, {}, values};
}
constexpr Type object(std::string_view name, std::span<const Member> members) {
    return {name, Meta::Object, {}, {}, members};
}

constexpr Type kTypes[] = {
    builtin("str", "string"),
    builtin("int", "int"),
    builtin("bool", "boolean"),
    builtin("any", "value"),
    enumeration("QMPCapability", {}),
    enumeration("RunState", kRunStates),
    enumeration("ShutdownCause", kCauses),
    enumeration("GuestPanicAction", kPanicActions),
    enumeration("SchemaMetaType", kMetaTypes),
    enumeration("SysEmuTarget", kTargets),
    object("q_empty", {}),
    object("q_obj_qmp_capabilities-arg", kCapabilitiesArguments),
    object("VersionTriple", kVersionTriple),
    object("VersionInfo", kVersionInfo),
    object("NameInfo", kNameInfo),
    object("CommandInfo", kCommandInfo),
    object("KvmInfo", kKvmInfo),
    object("StatusInfo", kStatusInfo),
    object("CpuInstanceProperties", kCpuProperties),
    object("CpuInfoFast", kCpuInfoFast),
    object("ImageInfo", kImageInfo),
    object("BlockDeviceInfo", kBlockDeviceInfo),
    object("BlockInfo", kBlockInfo),
    object("q_obj_query-blockstats-arg", kBlockStatsArguments),
    object("BlockDeviceStats", kBlockDeviceStats),
    object("BlockStats", kBlockStats),
    object("ChardevInfo", kChardevInfo),
    object("MemcryptPages", kMemcryptPages),
    object("MemcryptFaults", kMemcryptFaults),
    object("MemcryptPrefetch", kMemcryptAhead),
    object("MemcryptCipher", kMemcryptSeals),
    object("MemcryptInfo", kMemcryptInfo),
    object("q_obj_query-device-grants-arg", kDeviceGrantsArguments),
    object("DeviceGrant", kDeviceGrant),
    object("q_obj_SHUTDOWN-arg", kShutdownEvent),
    object("q_obj_GUEST_PANICKED-arg", kPanickedEvent),
    object("SchemaInfoMember", kSchemaMember),
    object("SchemaInfo", kSchemaInfo),
};

}  // namespace

std::span<const Type> types() noexcept { return kTypes; }

const Type* find(std::string_view name) noexcept {
    const auto* const found = std::ranges::find(kTypes, name, &Type::name);
    return found == std::end(kTypes) ? nullptr : found;
}

std::string_view element(std::string_view type) noexcept {
    return type.starts_with('[') && type.ends_with(']') ? type.substr(1, type.size() - 2)
                                                        : std::string_view{};
}

}  // namespace holdfast::control::schema
