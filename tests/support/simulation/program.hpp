// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_SIMULATION_PROGRAM_HPP
#define INTERLOCK_TESTS_SUPPORT_SIMULATION_PROGRAM_HPP

/// @file
/// What the programs that run many seeds have in common: which seed runs, what a crash says of it, and what
/// the program came to. Each program is one that includes this once.

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>

namespace simulated_program {

/// Whether a sanitizer watches, under which a run takes several times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

/// Of the run that is under way.
inline std::uint64_t current_seed = 0;
/// Verdicts.
inline int passed = 0;
inline int failed = 0;

/// A handler of signals: says which seed it was that crashed, and crashes.
extern "C" inline void say_seed(int signal)
{
    std::fprintf(
        stderr, "ended by signal %d in --seed %llu\n", signal, static_cast<unsigned long long>(current_seed));
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

/// From the clock: whoever runs this again gets others. Room for ten million in one run.
inline std::uint64_t fresh_seed()
{
    auto const now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count()) *
           10'000'000;
}

inline void verdict(bool good, std::string const& name, std::string const& detail = {})
{
    (good ? passed : failed) += 1;
    std::printf(
        "%s %s%s%s\n", good ? "ok    " : "FAILED", name.c_str(), detail.empty() ? "" : ": ", detail.c_str());
}

}  // namespace simulated_program

#endif  // INTERLOCK_TESTS_SUPPORT_SIMULATION_PROGRAM_HPP
