// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_DLOCK_OPTIONS_HPP
#define INTERLOCK_EXAMPLES_DLOCK_OPTIONS_HPP

/// @file
/// What the command line says.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dlock {

using Duration = std::chrono::nanoseconds;

/// What the program ends with, besides the code of its command. As timeout(1) and env(1).
inline constexpr int exit_lost = 124;       ///< a lock was lost before the command ended by itself
inline constexpr int exit_fault = 125;      ///< dlock itself has failed
inline constexpr int exit_not_run = 126;    ///< the command was found, and could not be run
inline constexpr int exit_not_found = 127;  ///< there is no such command
inline constexpr int exit_by_signal = 128;  ///< and the number of the signal

enum class Verb : unsigned char { run, status, break_lock, wait, setup };

struct Options {
    Verb verb{Verb::run};
    std::string store;               ///< its URL
    std::vector<std::string> names;  ///< in the order of their bytes, each once

    // Of run and wait.
    std::optional<Duration> wait;  ///< how long for the locks; nothing: for ever
    int busy_code{1};

    // Of run.
    std::vector<std::string> command;
    Duration ttl{std::chrono::seconds{15}};
    Duration at_least{0};
    Duration kill_after{std::chrono::seconds{10}};
    bool verbose{false};

    // Of status and break.
    bool details{false};
    bool json{false};
    bool watch{false};
    bool yes{false};
    std::optional<Duration> older_than;
};

/// The options, or the code to end with at once: after `--help`, or a mistake, about which standard error
/// then says something.
struct Parsed {
    Options options;
    std::optional<int> end;
};
Parsed parse(int argc, char const* const* argv);

/// `90`, `1.5h`, `10m`, `500ms`: a number is of seconds. Nothing: it is no duration.
std::optional<Duration> duration_of(std::string_view text);

/// Whether a URL may hold a password; in doubt it does.
bool may_hold_password(std::string_view url);

}  // namespace dlock

#endif  // INTERLOCK_EXAMPLES_DLOCK_OPTIONS_HPP
