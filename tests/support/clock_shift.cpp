// SPDX-License-Identifier: BSL-1.0

// To be preloaded into a process: its wall clock runs ahead by the seconds that the first eight bytes of a
// file say, and the clock that counts suspends by what the second eight say, if there are any.
// INTERLOCK_CLOCK_SHIFT names that file, which may change at any time.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

/// Not by a constructor: the server's allocator asks for the time before any has run.
std::int64_t shift(int which) noexcept
{
    static std::atomic<std::int64_t const*> place{nullptr};
    auto const* seconds = place.load();
    if (seconds == nullptr) {
        char const* const name = std::getenv("INTERLOCK_CLOCK_SHIFT");
        int const fd = name != nullptr ? ::open(name, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            return 0;
        void* const mapped = ::mmap(nullptr, 2 * sizeof(std::int64_t), PROT_READ, MAP_SHARED, fd, 0);
        ::close(fd);
        if (mapped == MAP_FAILED)
            return 0;
        seconds = static_cast<std::int64_t const*>(mapped);
        place.store(seconds);
    }
    return static_cast<std::int64_t const volatile*>(seconds)[which];
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept
{
    auto const result = static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += shift(0);
    if (result == 0 && clock == CLOCK_BOOTTIME)
        time->tv_sec += shift(1);
    return result;
}

extern "C" int gettimeofday(timeval* time, void*) noexcept
{
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

extern "C" time_t time(time_t* out) noexcept
{
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != nullptr)
        *out = now.tv_sec;
    return now.tv_sec;
}
