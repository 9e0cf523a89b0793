// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_RANDOM_HPP
#define INTERLOCK_CORE_RUNTIME_RANDOM_HPP

/// @file
/// Random bits from the operating system, drawn in blocks, one block per thread. After a fork the child drops
/// the block, so that parent and child never hand out the same token.
///
///     std::uint64_t const bits = random_bits();  // half of an owner token
///
/// Owner tokens are made of these bits, and whoever can guess one can release somebody else's lock. So the
/// bits come from the kernel's generator and never from a seeded one.
///
/// **Thread safety.** Every function may be called from any thread. **Cost.** One system call for 256
/// numbers.

#include <interlock/fwd.hpp>
#include <interlock/separate_compilation.hpp>

#include <pthread.h>
#include <sys/random.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Counts the forks between the first process and this one.
inline std::atomic<std::uint64_t>& fork_counter() noexcept
{
    static std::atomic<std::uint64_t> counter{0};
    return counter;
}

/// A number that differs between a process and its forked children. It costs one relaxed load.
inline std::uint64_t process_generation() noexcept
{
    static bool const registered = [] {
        return pthread_atfork(
                   nullptr, nullptr, [] { fork_counter().fetch_add(1, std::memory_order_relaxed); }) == 0;
    }();
    static_cast<void>(registered);
    return fork_counter().load(std::memory_order_relaxed);
}

/// Fills `data` from getrandom(2), however often a signal interrupts it. Throws `std::system_error` when
/// the system has no randomness to give: a predictable owner token would be worse than no lock.
void os_random(void* data, std::size_t size);

/// 64 random bits. One call in 256 makes a system call. Throws what `os_random` throws; no number is
/// handed out twice then.
inline std::uint64_t random_bits()
{
    struct Block {
        std::array<std::uint64_t, 256> bits;
        std::size_t left;          // the numbers that are not used yet are the first `left`
        std::uint64_t generation;  // the process that has drawn the block
    };
    static thread_local Block block{{}, 0, 0};
    auto const generation = process_generation();
    if (block.left == 0 || block.generation != generation) {
        block.left = 0;  // so that no used number is handed out if the next line throws
        os_random(block.bits.data(), sizeof block.bits);
        block.left = block.bits.size();
        block.generation = generation;
    }
    return block.bits[--block.left];
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/runtime/impl/random.ipp>
#endif

#endif  // INTERLOCK_CORE_RUNTIME_RANDOM_HPP
