// SPDX-License-Identifier: BSL-1.0

// What it costs to include the library, and to compile a unit that uses one service.
//
// How it works: the compiler (the environment's CXX, or g++) reads translation units of one line with
// -fsyntax-only, and its user processor time is taken. The rivals are the Asio headers that users of the
// library include anyway.
//
// The units stand in units/. Each is compiled with -O2, header-only and as one of a program whose bodies are
// compiled elsewhere, and beside that header-only by the headers in INTERLOCK_INCLUDE_BEFORE, if that is set:
// another checkout. CPPFLAGS has what the client libraries need (-I/usr/include/postgresql).

#include "../support/harness.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>

namespace {

namespace fs = std::filesystem;

struct Compiler {
    std::string command;
    fs::path includes;
    fs::path scratch;

    /// The compiler's user seconds, or nothing when it failed.
    std::optional<double> run(std::vector<std::string> arguments) const
    {
        arguments.insert(arguments.begin(), {command, "-std=c++20", "-I" + includes.string()});
        std::vector<char*> raw;
        for (auto& argument : arguments)
            raw.push_back(argument.data());
        raw.push_back(nullptr);
        auto const child = ::fork();
        if (child < 0)
            throw std::runtime_error("fork");
        if (child == 0) {
            auto const nowhere = ::open("/dev/null", O_WRONLY);
            ::dup2(nowhere, STDERR_FILENO);
            ::execvp(raw[0], raw.data());
            ::_exit(127);
        }
        int status = 0;
        rusage usage{};
        // The usage includes the children that it waited for, and those are the compiler proper.
        ::wait4(child, &status, 0, &usage);
        if (status != 0)
            return std::nullopt;
        return static_cast<double>(usage.ru_utime.tv_sec) +
               static_cast<double>(usage.ru_utime.tv_usec) * 1e-6;
    }

    fs::path unit(std::string const& header) const
    {
        auto name = header;
        std::replace(name.begin(), name.end(), '/', '_');
        auto path = scratch / (name + ".cpp");
        std::ofstream(path) << "#include <" << header << ">\n";
        return path;
    }

    std::optional<double> seconds(std::string const& header) const
    {
        return run({"-fsyntax-only", unit(header).string()});
    }

    /// The unit of the library's user, optimised.
    double seconds_of_unit(fs::path const& file, bool separate) const
    {
        std::vector<std::string> arguments{"-O2", "-c", file.string(), "-o", (scratch / "unit.o").string()};
        if (separate)
            arguments.insert(
                arguments.end(), {"-DINTERLOCK_SEPARATE_COMPILATION", "-DBOOST_ASIO_SEPARATE_COMPILATION"});
        auto const* const flags = std::getenv("CPPFLAGS");
        std::istringstream words{flags != nullptr ? flags : ""};
        for (std::string word; words >> word;)
            arguments.push_back(word);
        return run(std::move(arguments)).value_or(bench::not_measured);
    }

    /// How many lines are not blank after preprocessing.
    std::size_t lines(std::string const& header) const
    {
        auto const out = scratch / "preprocessed.ii";
        if (!run({"-E", "-P", "-o", out.string(), unit(header).string()}))
            return 0;
        std::ifstream in(out);
        std::size_t count = 0;
        for (std::string line; std::getline(in, line);)
            if (line.find_first_not_of(" \t\r") != std::string::npos)
                ++count;
        return count;
    }
};

/// A directory that the destructor removes.
class Scratch {
public:
    Scratch()
    {
        auto name = (fs::temp_directory_path() / "interlock-compile-time-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr)
            throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    Scratch(Scratch const&) = delete;
    Scratch& operator=(Scratch const&) = delete;
    ~Scratch()
    {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    fs::path const& path() const noexcept { return path_; }

private:
    fs::path path_;
};

/// A unit in units/, and what it should cost of what it did before.
struct Unit {
    char const* name;
    double header_only;
    double separate;
};
constexpr Unit units[] = {
    {"redis_lease", 0.57, 0.34}, {"postgres_row_lock", 0.65, 0.48}, {"run_time", 0, 0.42}};

void compile_units(bench::Options const& options, Compiler const& compiler, int rounds)
{
    using Kind = bench::Target::Kind;
    auto const folder = fs::path(__FILE__).parent_path() / "units";
    for (auto const& unit : units) {
        auto const file = folder / (std::string(unit.name) + ".cpp");
        std::vector<bench::Contestant> contestants{
            {"header-only",
             [&](int) { return compiler.seconds_of_unit(file, false); },
             {{"before", Kind::at_most, unit.header_only}}},
            {"compiled",
             [&](int) { return compiler.seconds_of_unit(file, true); },
             {{"before", Kind::at_most, unit.separate}}}};
        if (auto const* const before = std::getenv("INTERLOCK_INCLUDE_BEFORE"))
            contestants.push_back(
                {"before",
                 [&, other = Compiler{compiler.command, before, compiler.scratch}](int) {
                     return other.seconds_of_unit(file, false);
                 },
                 {}});
        bench::compete(
            options, "compile_time", std::string("unit ") + unit.name, "user seconds", rounds, contestants);
    }
}

std::vector<std::string> public_headers(fs::path const& includes)
{
    std::vector<std::string> headers;
    for (auto const& entry : fs::recursive_directory_iterator(includes / "interlock")) {
        auto const name = entry.path().lexically_relative(includes).generic_string();
        // A src.hpp is no header of a user's units.
        if (entry.path().extension() == ".hpp" && name.find("/detail/") == std::string::npos &&
            !name.ends_with("src.hpp"))
            headers.push_back(name);
    }
    std::sort(headers.begin(), headers.end());
    return headers;
}

}  // namespace

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 7;
    try {
        Scratch const scratch;
        auto const* const chosen = std::getenv("CXX");
        auto const* const given = std::getenv("INTERLOCK_INCLUDE");
        Compiler const compiler{
            chosen != nullptr && *chosen != '\0' ? chosen : "g++",
            given != nullptr ? fs::path(given) : fs::path(__FILE__).parent_path() / ".." / ".." / "include",
            scratch.path()};
        if (!compiler.seconds("cstddef") || !compiler.seconds("interlock/fwd.hpp")) {
            std::fprintf(
                stderr, "compile_time: %s does not work here, or does not find the headers in %s\n",
                compiler.command.c_str(), compiler.includes.string().c_str());
            return 77;
        }
        auto const contestant = [&](char const* header, std::vector<bench::Target> targets) {
            return bench::Contestant{
                header,
                [&compiler, header](int) {
                    auto const seconds = compiler.seconds(header);
                    if (!seconds)
                        throw std::runtime_error(std::string(header) + " does not compile");
                    return *seconds;
                },
                std::move(targets)};
        };
        using Kind = bench::Target::Kind;
        bench::compete(
            options, "compile_time", compiler.command, "user seconds", rounds,
            {contestant("boost/asio/awaitable.hpp", {}),
             contestant("interlock/fwd.hpp", {{"boost/asio/awaitable.hpp", Kind::at_most, 0.35}}),
             contestant("boost/asio/steady_timer.hpp", {}),
             contestant("interlock/interlock.hpp", {{"boost/asio/steady_timer.hpp", Kind::at_most, 1.5}})});
        if (options.smoke)
            return 0;
        compile_units(options, compiler, std::min(rounds, 3));

        if (!options.csv)
            std::printf(
                "\ncompile_time, each public header: user seconds (median of 3), preprocessed lines\n");
        for (auto const& header : public_headers(compiler.includes)) {
            std::vector<double> seconds;
            for (int i = 0; i < 3; ++i)
                if (auto const one = compiler.seconds(header))
                    seconds.push_back(*one);
            if (seconds.empty()) {  // the header's client library is not installed
                std::fprintf(stderr, "  %s: not measured, it does not compile here\n", header.c_str());
                continue;
            }
            auto const lines = compiler.lines(header);
            for (std::size_t i = 0; i < seconds.size(); ++i)
                bench::row(
                    options, "compile_time", compiler.command, header, static_cast<int>(i), seconds[i],
                    "user seconds");
            bench::row(
                options, "compile_time", compiler.command, header, 0, static_cast<double>(lines), "lines");
            if (!options.csv)
                std::printf("  %-52s %7.2f %9zu\n", header.c_str(), bench::median(seconds), lines);
            std::fflush(stdout);
        }
    } catch (std::exception const& error) {
        std::fprintf(stderr, "compile_time: %s\n", error.what());
        return 1;
    }
    return 0;
}
