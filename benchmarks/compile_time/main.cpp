// SPDX-License-Identifier: BSL-1.0

// What including a header costs, against what its user includes anyway. Runs the compiler that `CXX` names (else g++) on
// one-line files with -fsyntax-only and counts the processor time of the compiler, several rounds interleaved.

#include "../support/harness.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

std::filesystem::path include_folder()
{
    if (auto const* const set = std::getenv("INTERLOCK_INCLUDE"))
        return set;
    auto folder = std::filesystem::path(__FILE__).parent_path();
    return std::filesystem::weakly_canonical(folder / ".." / ".." / "include");
}

/// Processor seconds of the children so far.
double children_seconds()
{
    rusage usage{};
    getrusage(RUSAGE_CHILDREN, &usage);
    auto const seconds = [](timeval t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
    return seconds(usage.ru_utime);
}

double compile(std::filesystem::path const& folder, std::string const& header)
{
    auto const source = folder / "one_line.cpp";
    std::ofstream(source) << "#include <" << header << ">\n";
    auto const* const named = std::getenv("CXX");
    std::string const compiler = named != nullptr ? named : "g++";
    std::string const include = "-I" + include_folder().string();
    auto const before = children_seconds();
    auto const child = fork();
    if (child == 0) {
        execlp(
            compiler.c_str(), compiler.c_str(), "-std=c++20", "-fsyntax-only", include.c_str(), source.c_str(),
            static_cast<char*>(nullptr));
        std::perror(compiler.c_str());
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        std::fprintf(stderr, "compile_time: %s does not compile\n", header.c_str());
        std::exit(1);
    }
    return children_seconds() - before;
}

}  // namespace

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 7;
    char name[] = "/tmp/interlock-compile-time-XXXXXX";
    if (mkdtemp(name) == nullptr) {
        std::perror("mkdtemp");
        return 1;
    }
    std::filesystem::path const folder = name;
    using Kind = bench::Target::Kind;
    auto const contestant = [&](std::string const& header, std::vector<bench::Target> targets) {
        return bench::Contestant{header, [&folder, header](int) { return compile(folder, header); }, std::move(targets)};
    };
    bench::compete(
        options, "compile_time", "one header, -fsyntax-only", "s of processor time", rounds,
        {contestant("boost/asio/awaitable.hpp", {}),
         contestant("interlock/fwd.hpp", {{"boost/asio/awaitable.hpp", Kind::at_most, 0.35}}),
         contestant("boost/asio/steady_timer.hpp", {}),
         contestant("interlock/interlock.hpp", {{"boost/asio/steady_timer.hpp", Kind::at_most, 1.5}})});
    if (!options.smoke) {
        std::vector<bench::Contestant> all;
        for (auto const& entry : std::filesystem::recursive_directory_iterator(include_folder())) {
            auto const header = std::filesystem::relative(entry.path(), include_folder()).string();
            if (entry.path().extension() == ".hpp" && header.find("/detail/") == std::string::npos)
                all.push_back(contestant(header, {}));
        }
        std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
        bench::compete(options, "compile_time", "every public header", "s of processor time", 1, all);
    }
    std::filesystem::remove_all(folder);
    return 0;
}
