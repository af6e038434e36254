// SPDX-License-Identifier: Apache-2.0
// holdfast: reads the command line, does the one verb, and is the one place that prints failures.
#include <algorithm>
#include <filesystem>
#include <new>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/tree.hpp"

namespace holdfast::cli {
namespace {

[[noreturn]] void wrong_usage(const CLI::App& app, int argc, char** argv, const CLI::ParseError& error) {
    if (app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-') {
        std::vector<std::string> verbs;
        for (const CLI::App* const each : app.get_subcommands([](const CLI::App*) { return true; })) {
            verbs.push_back(each->get_name());
        }
        throw Failure{Code::Usage, fmt::format("there is no verb '{}'", printable(argv[1])),
                      fmt::format("the verbs are {}", fmt::join(verbs, ", ")),
                      "holdfast --help says what each does"};
    }
    std::string verb;
    for (const CLI::App* const chosen : app.get_subcommands()) verb = " " + chosen->get_name();
    std::string why = error.what();
    std::ranges::replace(why, '\n', ' ');
    throw Failure{Code::Usage, "the command line is not understood", printable(why),
                  fmt::format("holdfast{} --help shows what there is", verb)};
}

struct Dispatch {
    const std::string& state_dir;
    int operator()(const std::monostate&) const { return kExitUsage; }
    int operator()(const RunOptions& options) const { return run_vm(options, state_dir); }
    int operator()(const MeasureOptions& options) const { return measure(options); }
    int operator()(const ListOptions& options) const { return list_vms(options, state_dir); }
    int operator()(const StatusOptions& options) const { return show_status(options, state_dir); }
    int operator()(const TopOptions& options) const { return show_top(options, state_dir); }
    int operator()(const ConsoleOptions& options) const { return open_console(options, state_dir); }
    int operator()(const LogsOptions& options) const { return show_logs(options, state_dir); }
    int operator()(const StopOptions& options) const { return stop_vm(options, state_dir); }
    int operator()(const KillOptions& options) const { return kill_vm(options, state_dir); }
    int operator()(const DoctorOptions& options) const { return run_doctor(options); }
    int operator()(const VtpmCreateOptions& options) const { return create_vtpm(options, state_dir); }
    int operator()(const VtpmListOptions& options) const { return list_vtpms(options, state_dir); }
    int operator()(const VtpmServeOptions& options) const { return serve_vtpm(options, state_dir); }
    int operator()(const VtpmRemoveOptions& options) const { return remove_vtpm(options, state_dir); }
    int operator()(const VerifyOptions& options) const { return verify(options); }
    int operator()(const EnrollOptions& options) const { return enroll(options, state_dir); }
    int operator()(const BrokerOptions& options) const { return run_broker(options); }
    int operator()(const AttestOptions& options) const { return attest_vm(options, state_dir); }
    int operator()(const AnchorOptions& options) const { return run_anchor(options, state_dir); }
    int operator()(const BenchOptions& options) const { return run_bench(options); }
    int operator()(const AgentOptions& options) const { return run_agent(options, state_dir); }
    int operator()(const ImageOptions& options) const { return make_image(options); }
    int operator()(const BundleOptions& options) const { return run_bundle(options); }
    int operator()(const LibvirtDomainOptions& options) const { return print_domain(options, state_dir); }
    int operator()(const LibvirtCheckOptions& options) const { return check_libvirt(options); }
    int operator()(const LibvirtInstallOptions& options) const { return install_libvirt(options); }
    int operator()(const LibvirtHookOptions& options) const { return judge_domain(options, state_dir); }
    int operator()(const DeviceOptions& options) const { return run_device(options, state_dir); }
};

void describe(CLI::App& app) {
    app.name("holdfast");
    app.set_version_flag("--version", std::string{"holdfast " HF_VERSION});
}

/// The word that is the verb, in a command line that is as it should be.
std::string_view typed_verb(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view word{argv[i]};
        if (word == "--state-dir") ++i;
        else if (!word.starts_with('-')) return word;
    }
    return {};
}

/// Fills `out` from a command line of that verb. False: it may be understood if all verbs are known, or help
/// is asked for, or it is wrong; the whole tree says which.
bool parse_verb(std::string_view verb, int argc, char** argv, Invocation& out) {
    if (verb.empty()) return false;
    CLI::App app;
    describe(app);
    declare(app, out, verb);
    try {
        app.parse(argc, argv);
        return true;
    } catch (const CLI::Error&) {
        return false;
    }
}

int dispatch(int argc, char** argv) {
    // Freed before the verb runs: `run` lives as long as its VM and should be small.
    Invocation invocation;
    if (!parse_verb(typed_verb(argc, argv), argc, argv, invocation)) {
        invocation = {};
        CLI::App app;
        describe(app);
        declare(app, invocation);
        try {
            app.parse(argc, argv);
        } catch (const CLI::Success& help) {
            return app.exit(help);
        } catch (const CLI::ParseError& error) {
            wrong_usage(app, argc, argv, error);
        }
    }
    if (!invocation.state_dir.empty()) {
        invocation.state_dir = std::filesystem::absolute(invocation.state_dir).string();
    }
    return std::visit(Dispatch{invocation.state_dir}, invocation.verb);
}

}  // namespace
}  // namespace holdfast::cli

int main(int argc, char** argv) {
    using namespace holdfast::cli;
    try {
        return dispatch(argc, argv);
    } catch (const Failure& failure) {
        failure.print();
        return failure.exit_status();
    } catch (const std::exception& error) {
        const Failure failure{Code::Internal, "an operation that should always work did not", error.what(),
                              "look at the host's limits (descriptors, processes, memory); else report this"};
        failure.print();
        return failure.exit_status();
    }
}
