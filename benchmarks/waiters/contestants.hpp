// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_WAITERS_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_WAITERS_CONTESTANTS_HPP

// Very many asynchronous callers wait for one key. What does each of them cost while it waits, and what does
// it cost to hand the key on to the next?
//
// Bytes are what malloc has given out and not got back (`mallinfo2`), with its headers and its rounding.
// Counting in `operator new` would miss most of it: Asio takes coroutine frames and handlers from
// `aligned_alloc`.
//
// What is the user's own is measured and subtracted:
// - the frame of the user's coroutine, by making coroutines that are never started;
// - what `co_spawn` keeps for each, by suspending a coroutine in an operation that keeps nothing but its
//   handler.
// What remains is the library's: the frame that `use_awaitable` makes around the call, the operation, its
// place in every queue, its alarm for the deadline. That frame is there around every operation that is
// awaited; what it has when it carries nothing is measured as well, and printed beside.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe.hpp>

#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;

struct Counter {
    std::string name;
    std::int64_t count{0};
};
BOOST_DESCRIBE_STRUCT(Counter, (), (name, count))

/// Of one run, per waiter.
struct Cost {
    double bytes{0};     ///< everything
    double frame{0};     ///< of that, the user's coroutine frame; 0 without a coroutine
    double resident{0};  ///< by how much the process grew
    double hand_on{0};   ///< nanoseconds of processor time from one holder to the next
};

enum class Style : unsigned char { coroutine, handler };

/// Each throws when not every waiter had its turn exactly once.
Cost timer_queue(std::size_t waiters, Style style);
Cost pessimistic_row_lock(std::size_t waiters, Style style);
Cost set_nx_lock(std::size_t waiters, Style style);
Cost lock_state_service(std::size_t waiters, Style style);

/// Bytes that `co_spawn` keeps for a suspended coroutine, beyond that coroutine's frame.
double spawn_bytes(std::size_t coroutines);
/// Bytes of the frame that `use_awaitable` makes around an operation that is given nothing: whoever awaits
/// anything has it.
double awaitable_bytes(std::size_t coroutines);

inline double bytes_in_use()
{
    auto const info = ::mallinfo2();
    return static_cast<double>(info.uordblks) + static_cast<double>(info.hblkhd);
}

inline double resident_bytes()
{
    long size = 0;
    long resident = 0;
    if (auto* const file = std::fopen("/proc/self/statm", "r")) {
        if (std::fscanf(file, "%ld %ld", &size, &resident) != 2)
            resident = 0;
        std::fclose(file);
    }
    return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

inline double processor_seconds()
{
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// Bytes of a coroutine frame, by making `n` that are never started.
template <class Make>
double frame_bytes(std::size_t n, Make make)
{
    std::vector<decltype(make())> frames;
    frames.reserve(n);
    auto const before = bytes_in_use();
    for (std::size_t i = 0; i < n; ++i)
        frames.push_back(make());
    return (bytes_in_use() - before) / static_cast<double>(n);
}

/// Starts `waiters` callers while somebody else has the key, weighs them, then lets go and times the queue.
/// - `coroutine()` makes a user's coroutine, `start()` is the same with a completion handler;
/// - `waiting()` counts who waits, `release()` lets go of the key, `done()` counts who has had it.
template <class Coroutine, class Start, class Waiting, class Release, class Done>
Cost weigh_and_time(
    asio::io_context& context, std::size_t waiters, Style style, Coroutine coroutine, Start start,
    Waiting waiting, Release release, Done done)
{
    auto const n = static_cast<double>(waiters);
    Cost cost;
    if (style == Style::coroutine)
        cost.frame = frame_bytes(waiters, coroutine);
    ::malloc_trim(0);
    auto const bytes = bytes_in_use();
    auto const resident = resident_bytes();
    for (std::size_t i = 0; i < waiters; ++i) {
        if (style == Style::coroutine)
            asio::co_spawn(context, coroutine(), asio::detached);
        else
            start();
    }
    while (waiting() < waiters)
        if (context.poll() == 0 && waiting() < waiters)
            throw std::runtime_error("not everybody waits");
    cost.bytes = (bytes_in_use() - bytes) / n;
    cost.resident = (resident_bytes() - resident) / n;
    auto const begin = processor_seconds();
    release();
    context.restart();
    context.run();
    cost.hand_on = (processor_seconds() - begin) * 1e9 / n;
    if (done() != waiters)
        throw std::runtime_error("not everybody had a turn");
    return cost;
}

#endif  // INTERLOCK_BENCHMARKS_WAITERS_CONTESTANTS_HPP
