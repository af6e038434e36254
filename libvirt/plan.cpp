// SPDX-License-Identifier: Apache-2.0
#include "libvirt/plan.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "libvirt/advertised.hpp"
#include "libvirt/environment.hpp"
#include "libvirt/json.hpp"
#include "libvirt/parts.hpp"

namespace holdfast::libvirt {
namespace {

// Ignored, because what they ask for is so in any case or means nothing to a guest of ours:
// a clock (ours is the host's, in UTC), no HPET (there is none), a boot order (ours is fixed), a display and
// sound (there are none), the chipset's watchdog (not there), and how QEMU logs. -overcommit, -sandbox and
// -global are judged below.
constexpr std::array<std::string_view, 11> kIgnored{
    "uuid",         "rtc",       "no-hpet",    "boot",           "msg",
    "audiodev",     "nographic", "nodefaults", "no-user-config", "watchdog-action",
    "no-fd-bootchk"};

Verdict<void> want(bool holds, std::string what, std::string fix) {
    if (holds) return {};
    return Refusal{std::move(what), std::move(fix)};
}

Verdict<void> read_machine(Fields fields, Plan& plan) {
    const std::string type = fields.take("type");
    if (type == "none") {
        plan.probe = true;
        return {};
    }
    HF_TRY(want(type == kMachine || type == kMachineAlias,
                "machine '" + printable(type) + "' is not Holdfast's", "use machine='q35'"));
    HF_TRY(
        want(!fields.has("confidential-guest-support"),
             "launchSecurity asks for memory encryption by the CPU, and this version of Holdfast has none",
             "leave out <launchSecurity>, and read what tier software does not protect (docs/libvirt.md)"));
    const std::string ram = fields.take("memory-backend");
    HF_TRY(want(ram.empty() || ram == kRamId, "memory-backend '" + printable(ram) + "' is not there",
                "use " + std::string{kRamId}));
    HF_TRY(want(fields.take("acpi") != "off", "a Holdfast guest cannot be without ACPI",
                "add <features><acpi/></features>"));
    HF_TRY(want(fields.take("usb") != "on", "there is no USB", "add <controller type='usb' model='none'/>"));
    HF_TRY(
        want(fields.take("dump-guest-core") != "on", "guest memory is never dumped", "leave out dumpCore"));
    return fields.unused("-machine");
}

Verdict<void> read_memory(Fields fields, Plan& plan) {
    const auto bytes = bytes_of(fields.take("size"), Unit::Mebibyte);
    if (!bytes) return Refusal{"the size of -m is not a number with K, M or G", "correct <memory>"};
    plan.memory_bytes = *bytes;
    // In KiB if it does not fill MiB, so that `run` is who judges it.
    plan.run.insert(plan.run.end(), {"--memory", std::to_string(*bytes / 1024) + "K"});
    return fields.unused("-m (Holdfast has no hot-plugged memory)");
}

Verdict<void> read_smp(Fields fields, Plan& plan) {
    const auto count = number_of(fields.take("cpus"));
    if (!count || *count == 0 || *count > kMostCpus)
        return Refusal{"a domain has 1 to 64 vCPUs", "correct <vcpu>"};
    plan.cpus = *count;
    plan.run.insert(plan.run.end(), {"--cpus", std::to_string(*count)});
    const std::string most = fields.take("maxcpus");
    HF_TRY(want(most.empty() || most == std::to_string(*count), "vCPUs cannot be plugged in later",
                "make vcpu's current its maximum"));
    fields.ignore({"sockets", "dies", "clusters", "cores", "threads"});  // each vCPU is a core
    return fields.unused("-smp");
}

Verdict<void> read_cpu(Fields fields) {
    const std::string model = fields.take("type");
    HF_TRY(want(model == "host",
                "CPU model '" + printable(model) + "' is not there: a guest has the host's CPU",
                "use <cpu mode='host-passthrough'/> or leave it out"));
    HF_TRY(want(fields.take("migratable") != "off", "migratable=off is not there", "leave it out"));
    return fields.unused("-cpu");
}

Verdict<void> read_monitor(Fields fields, Plan& plan) {
    const std::string where = fields.take("where");
    HF_TRY(want(where.starts_with("unix:") && fields.take("server") == "on" && fields.take("wait") == "off",
                "a monitor is a Unix socket that is listened at", "use -qmp unix:PATH,server=on,wait=off"));
    plan.monitor.path = where.substr(5);
    return fields.unused("-qmp");
}

// Options that stand alone.
Verdict<void> read_plain(const Option& option, Plan& plan) {
    if (option.name == "S") plan.paused = true;
    else if (option.name == "daemonize") plan.daemonize = true;
    else if (option.name == "no-shutdown") plan.stay_after = true;
    else if (option.name == "no-reboot") plan.run.insert(plan.run.end(), {"--on-reboot", "exit"});
    else if (option.name == "pidfile") plan.pid_file = option.value;
    else if (option.name == "kernel") plan.run.insert(plan.run.end(), {"--kernel", option.value});
    else if (option.name == "initrd") plan.run.insert(plan.run.end(), {"--initrd", option.value});
    else if (option.name == "append") plan.run.insert(plan.run.end(), {"--cmdline", option.value});
    else if (option.name == "accel")
        return want(option.value.starts_with("kvm"),
                    "accelerator '" + printable(option.value) + "' is not there", "use <domain type='kvm'>");
    else if (option.name == "display")
        return want(option.value == "none", "there is no display", "leave out <graphics> and <video>");
    else if (option.name == "overcommit")
        return want(option.value == "mem-lock=off", "guest memory is not locked as a whole",
                    "leave out <memoryBacking><locked/>");
    else if (option.name == "global")
        return want(option.value.starts_with("ICH9-LPC."),
                    "-global '" + printable(option.value) + "' is not there", "leave out what sets it");
    else if (std::ranges::find(kIgnored, option.name) == kIgnored.end())
        return Refusal{"option -" + option.name + " is not there",
                       "leave out of the domain what asks for it"};
    return {};
}

Verdict<void> read_environment(std::span<const char* const> environment, Plan& plan) {
    for (const std::string_view word : environment) {
        if (!word.starts_with("HOLDFAST_")) continue;
        const std::string_view name = word.substr(0, word.find('='));
        const std::string value{word.substr(std::min(name.size() + 1, word.size()))};
        const auto variable = std::ranges::find(variables(), name, &Variable::name);
        if (variable == variables().end()) {
            return Refusal{"there is no variable " + printable(name),
                           "docs/libvirt.md lists those there are"};
        }
        if (variable->flag.empty()) plan.state_dir = value;
        else if (!variable->is_switch)
            plan.run.insert(plan.run.end(), {"--" + std::string{variable->flag}, value});
        else if (value == "on") plan.run.push_back("--" + std::string{variable->flag});
        else HF_TRY(want(value == "off", std::string{name} + " is neither on nor off", "say on"));
    }
    return {};
}

}  // namespace

Verdict<Plan> make_plan(std::span<const char* const> words, std::span<const char* const> environment) {
    Plan plan;
    Parts parts;
    const auto options = HF_TRY(read_options(words));
    for (const Option& option : options) {
        const std::string& value = option.value;
        if (option.name == "name") {
            auto fields = HF_TRY(Fields::read(value, "guest"));
            plan.name = fields.take("guest");
            fields.ignore({"debug-threads", "process"});
            HF_TRY(fields.unused("-name"));
        } else if (option.name == "machine") {
            auto fields = HF_TRY(Fields::read(value, "type"));
            HF_TRY(read_machine(std::move(fields), plan));
        } else if (option.name == "m") {
            auto fields = HF_TRY(Fields::read(value, "size"));
            HF_TRY(read_memory(std::move(fields), plan));
        } else if (option.name == "smp") {
            auto fields = HF_TRY(Fields::read(value, "cpus"));
            HF_TRY(read_smp(std::move(fields), plan));
        } else if (option.name == "cpu") {
            auto fields = HF_TRY(Fields::read(value, "type"));
            HF_TRY(read_cpu(std::move(fields)));
        } else if (option.name == "qmp") {
            auto fields = HF_TRY(Fields::read(value, "where"));
            HF_TRY(read_monitor(std::move(fields), plan));
        } else {
            const bool is_part = HF_TRY(parts.read(option));
            if (!is_part) HF_TRY(read_plain(option, plan));
        }
    }
    if (plan.probe) return plan;
    HF_TRY(parts.join(plan));
    HF_TRY(read_environment(environment, plan));
    HF_TRY(want(!plan.name.empty(), "the domain has no name", "give -name guest=NAME"));
    return plan;
}

}  // namespace holdfast::libvirt
