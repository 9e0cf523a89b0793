// SPDX-License-Identifier: BSL-1.0

#include "options.hpp"

#include <interlock/version.hpp>

#include <fmt/format.h>

#include "system.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string_view>
#include <system_error>
#include <utility>

namespace dlock {

std::optional<Duration> duration_of(std::string_view text)
{
    constexpr std::array<std::pair<std::string_view, double>, 6> units{
        {{"", 1e9}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}}};
    double number = 0;
    auto const read = std::from_chars(text.data(), text.data() + text.size(), number);
    auto const unit = text.substr(static_cast<std::size_t>(read.ptr - text.data()));
    for (auto const& [name, length] : units)
        if (read.ec == std::errc{} && unit == name && std::isfinite(number) && number >= 0 &&
            number * length < 9e18)
            return Duration{static_cast<Duration::rep>(number * length)};
    return std::nullopt;
}

bool may_hold_password(std::string_view url)
{
    return url.find('@') != std::string_view::npos || url.find("password") != std::string_view::npos;
}

namespace {

constexpr char const* overview = R"(Runs a command while it holds locks that whole machines share.

  dlock [OPTIONS] NAME... -- COMMAND [ARGUMENT...]   run COMMAND under the locks
  dlock [OPTIONS] NAME... -c 'COMMAND'               the same, by /bin/sh
  dlock status [-l] [--json] [--watch] [NAME...]     who holds what (0: nobody, 1: somebody)
  dlock break NAME                                   end what somebody holds
  dlock wait NAME...                                 wait until nobody holds them
  dlock setup                                        make the tables, where the store has tables

Durations are seconds, or have a unit: 500ms, 10m, 2h. See dlock(1).)";

/// An option that takes a duration.
void add_duration(CLI::App& app, std::string const& names, std::string const& text, Duration& into)
{
    app.add_option_function<std::string>(
           names,
           [&into, names](std::string const& given) {
               auto const read = duration_of(given);
               if (!read)
                   throw CLI::ValidationError(names, "'" + given + "' is no duration");
               into = *read;
           },
           text)
        ->type_name("TIME");
}
void add_duration(
    CLI::App& app, std::string const& names, std::string const& text, std::optional<Duration>& into)
{
    app.add_option_function<std::string>(
           names,
           [&into, names](std::string const& given) {
               into = duration_of(given);
               if (!into)
                   throw CLI::ValidationError(names, "'" + given + "' is no duration");
           },
           text)
        ->type_name("TIME");
}

/// What an option takes that is an exit code. The words are ours, since those of CLI11 differ by its version.
CLI::Validator exit_code()
{
    auto const look = [range = CLI::Range(0, 255)](std::string& given) {
        return range(given).empty() ? std::string{} : "'" + given + "' is no exit code of 0 to 255";
    };
    return {look, "INT in [0 - 255]"};
}

void add_store(CLI::App& app, Options& options)
{
    app.add_option("-s,--store", options.store, "where the locks are: redis://… or postgresql://…")
        ->envname("DLOCK_STORE")
        ->type_name("URL");
}

void describe_run(CLI::App& app, Options& options, std::string& shell, bool& at_once)
{
    auto* const no_wait = app.add_flag("-n,--nonblock", at_once, "give up at once when a lock is held");
    add_duration(app, "-w,--wait", "give up after this time; else wait for ever", options.wait);
    app.get_option("--wait")->excludes(no_wait);
    app.add_option("-E,--conflict-exit-code", options.busy_code, "what giving up ends with")
        ->check(exit_code())
        ->capture_default_str();
    add_duration(
        app, "--ttl", "for so long a dead holder keeps a lock; 50ms to 24h, 15s if left out", options.ttl);
    add_duration(
        app, "--at-least", "hold the locks for this time, however soon the command ends", options.at_least);
    add_duration(
        app, "-k,--kill-after", "what does not end within this time after TERM is killed; 10s if left out",
        options.kill_after);
    app.add_option("-c,--command", shell, "a command for /bin/sh")->type_name("COMMAND");
    app.add_flag("-v,--verbose", options.verbose, "say who holds what is waited for, and what is taken");
}

void describe_status(CLI::App& app, Options& options)
{
    app.add_flag("-l,--long", options.details, "since when, how long the lease is, who waits");
    app.add_flag("--json", options.json, "a JSON array of objects");
    app.add_flag("--watch", options.watch, "again every second, until it is interrupted");
    add_duration(app, "--older-than", "only locks that are held for longer", options.older_than);
}

/// Everything but the command, which stands behind "--". What is no option is the name of a lock. CLI11 is
/// not told of names: in its hands "[a,b]" would be two, and nobody would wait for who holds "[a,b]".
void parse_words(CLI::App& app, std::vector<std::string> words, Options& options)
{
    std::reverse(words.begin(), words.end());  // as CLI11 wants them
    app.allow_extras(options.verb != Verb::setup);
    app.parse(std::move(words));
    for (auto& word : app.remaining()) {
        bool const number = word.size() > 1 && word[1] >= '0' && word[1] <= '9';
        if (word.size() > 1 && word[0] == '-' && !number)
            throw CLI::ParseError(
                "there is no option '" + word + "' here, and no name of a lock begins with '-'",
                CLI::ExitCodes::ExtrasError);
        options.names.push_back(std::move(word));
    }
    if (options.names.empty() && options.verb != Verb::setup && options.verb != Verb::status)
        throw CLI::RequiredError("NAME");
}

/// The words with which a command line may begin.
constexpr std::array<std::pair<std::string_view, Verb>, 5> verbs{
    {{"run", Verb::run},
     {"status", Verb::status},
     {"break", Verb::break_lock},
     {"wait", Verb::wait},
     {"setup", Verb::setup}}};

/// Nothing: it is no such word.
std::optional<Verb> verb_of(std::string_view word)
{
    for (auto const& [name, verb] : verbs)
        if (word == name)
            return verb;
    return std::nullopt;
}

/// What to write, where there is no command.
std::string no_command(std::vector<std::string> const& names)
{
    for (auto const& name : names)
        if (verb_of(name))
            return "no command for the lock " + name + ": write it behind --, or use -c; if dlock " + name +
                   " is meant, that word comes before all options";
    return "no command: write it behind --, or use -c";
}

/// What is wrong with options that are each right.
std::string misfit_of(Options const& options, bool needs_command)
{
    if (options.store.empty())
        return "no store: say --store URL, or set DLOCK_STORE";
    if (options.store.starts_with("memory"))
        return "memory is no store for dlock: it belongs to one process, and nobody else would see the locks";
    if (needs_command && options.command.empty())
        return no_command(options.names);
    if (options.ttl < std::chrono::milliseconds{50} || options.ttl > std::chrono::hours{24})
        return "--ttl must be from 50ms to 24h";
    for (auto const& name : options.names)
        if (name.empty() || name.size() > 512)
            return "the name of a lock has 1 to 512 bytes";
        else if (needs_command && name.find('\n') != std::string::npos)
            return "a name with a line break would be two in DLOCK_NAME, which has a line for each";
    return {};
}

/// A command line that is none.
Parsed refused(std::string const& why)
{
    say(why + "\nTry dlock --help.");
    Parsed parsed;
    parsed.end = exit_fault;
    return parsed;
}

}  // namespace

Parsed parse(int argc, char const* const* argv)
{
    std::vector<std::string> words(argv + 1, argv + argc);
    auto const dashes = std::find(words.begin(), words.end(), "--");
    Parsed parsed;
    auto& options = parsed.options;
    if (dashes != words.end())
        options.command.assign(dashes + 1, words.end());
    bool const has_command = dashes != words.end();
    words.erase(dashes, words.end());

    CLI::App app{overview, "dlock"};
    app.set_version_flag(
        "-V,--version", fmt::format(
                            "dlock (interlock {}.{}.{})", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR,
                            INTERLOCK_VERSION_PATCH));
    std::string shell;
    bool at_once = false;
    // As with flock(1), what stands before a command is the name of a lock, whatever it is called.
    if (auto const verb = words.empty() ? std::nullopt : verb_of(words.front());
        verb && (!has_command || verb == Verb::run)) {
        options.verb = *verb;
        words.erase(words.begin());
    }
    add_store(app, options);
    switch (options.verb) {
    case Verb::run: describe_run(app, options, shell, at_once); break;
    case Verb::status: describe_status(app, options); break;
    case Verb::break_lock: app.add_flag("-y,--yes", options.yes, "do not ask"); break;
    case Verb::wait:
        add_duration(app, "-w,--wait", "give up after this time", options.wait);
        app.add_option("-E,--conflict-exit-code", options.busy_code, "what giving up ends with")
            ->check(exit_code());
        break;
    case Verb::setup: break;
    }
    try {
        parse_words(app, std::move(words), options);
    } catch (CLI::ParseError const& error) {
        if (error.get_exit_code() != 0)
            return refused(error.what());
        parsed.end = app.exit(error);  // --help and --version
        if (!std::cout.flush()) {
            say("standard output cannot be written");
            parsed.end = exit_fault;
        }
        return parsed;
    }
    if (at_once)
        options.wait = Duration{0};
    bool const has_shell = options.verb == Verb::run && app.count("--command") > 0;
    if (has_shell)
        options.command = {"/bin/sh", "-c", std::move(shell)};
    std::sort(options.names.begin(), options.names.end());
    options.names.erase(std::unique(options.names.begin(), options.names.end()), options.names.end());
    auto const misfit = has_command && has_shell ? std::string("a command behind -- or by -c, not both")
                                                 : misfit_of(options, options.verb == Verb::run);
    return misfit.empty() ? parsed : refused(misfit);
}

}  // namespace dlock
