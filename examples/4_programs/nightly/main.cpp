// SPDX-License-Identifier: BSL-1.0

// Shows: a job that several machines start at the same time (cron does), that one of them does, and that
// another one finishes when the first is killed or stopped midway. README.md tells it step by step.
// Needs: nothing; on several machines a Redis or PostgreSQL server.
// Run with: nightly                                                    (one night in memory)
//           nightly redis://localhost 2026-11-29 20 report.txt         (as often as you like, anywhere)

#ifdef NIGHTLY_POSTGRES
#include <interlock/backends/postgres/backend.hpp>
#endif
#ifdef NIGHTLY_REDIS
#include <interlock/backends/redis/backend.hpp>
#endif
#include <interlock/backends/memory/backend.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace il = interlock;
using namespace std::chrono_literals;

namespace {

// #region night
/// How far a night has come. It is stored, so whoever takes over knows where to go on.
struct Night {
    std::string date;
    int done = 0;  // parts
};
BOOST_DESCRIBE_STRUCT(Night, (), (date, done))
// #endregion night

/// The work: appends a line for each part, and takes its time. The token of the lock is in the line, as it
/// would be in a request to another system, which can refuse a lower one than it has seen.
class Report {
public:
    explicit Report(char const* path) : file_(::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644))
    {
        if (file_ < 0)
            throw std::runtime_error(fmt::format("nightly: cannot write {}", path));
    }
    ~Report() { ::close(file_); }
    Report(Report const&) = delete;
    Report& operator=(Report const&) = delete;

    void write(int part, il::FencingToken token)
    {
        std::this_thread::sleep_for(50ms);
        auto const line = fmt::format("part {} token {} process {}\n", part, token.value(), ::getpid());
        if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
            throw std::runtime_error("nightly: cannot write the report");
    }

private:
    int file_;
};

/// The store that the URL names, among those that the program was built with.
il::StateRepository<Night> open_nights(std::string_view url)
{
    return il::open<Night>(
        url,
#ifdef NIGHTLY_REDIS
        il::redis::backend, il::redis::unix_backend,
#endif
#ifdef NIGHTLY_POSTGRES
        il::postgres::backend, il::postgres::short_backend,
#endif
        il::memory::backend);
}

// #region work
/// Does what is left of the night while the lock is ours. Throws `Error` (`lock_lost` by our own clock,
/// `fenced_out` by the store) when it is not any more: then somebody else goes on with it.
void work(
    il::LockStateService<Night> const& locks, il::StateRepository<Night> const& nights,
    il::Lock<Night> const& lock, int parts, Report& report)
{
    auto seen = nights.load(lock.state().date).value();
    while (seen.value.done < parts) {
        lock.check();  // by our own clock: the last line before an effect that nobody can fence
        report.write(seen.value.done + 1, lock.fencing_token());
        ++seen.value.done;
        // The store refuses this write when the lock is somebody else's by now.
        seen.version = locks.write(lock, seen.version, seen.value).value();
    }
}
// #endregion work

int run(std::string_view url, std::string const& date, int parts, char const* path, std::chrono::seconds ttl)
{
#ifdef NIGHTLY_POSTGRES
    if (url.starts_with("postgres"))  // once; a careful person does this when the program is installed
        il::postgres::create_schema(il::postgres::Pool{url}).value();
#endif
    auto const nights = open_nights(url);
    // #region turn
    // A machine that is killed is replaced after the ttl; one that lives renews its lease all the time.
    il::LockStateService<Night> const locks{nights, {.ttl = ttl}};
    // Whoever is first makes the night; the others find it.
    if (auto const first = nights.insert({date, 0}); first.errc() != il::Errc::already_exists)
        first.value();
    Report report{path};
    for (;;) {
        try {
            auto lock = locks.acquire(date, {.deadline = 8h});
            work(locks, nights, lock, parts, report);
            locks.release(lock).value();
            break;
        } catch (il::Error const& error) {
            if (error.errc() != il::Errc::lock_lost && error.errc() != il::Errc::fenced_out)
                throw;
            std::fprintf(stderr, "nightly: %s; in line again\n", error.what());
        }
    }
    // #endregion turn
    auto const night = nights.load(date).value().value;
    fmt::print("{}: {} of {} parts are done\n", night.date, night.done, parts);
    return night.done == parts ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv)
{
    std::string_view const url = argc > 1 ? argv[1] : "memory:";
    std::string const date = argc > 2 ? argv[2] : "2026-11-29";
    int const parts = argc > 3 ? std::atoi(argv[3]) : 5;
    std::chrono::seconds const ttl{argc > 5 ? std::atoi(argv[5]) : 10};
    bool const help = url == "--help" || url == "-h";
    if (help || parts < 1 || ttl < 1s) {
        fmt::print(help ? stdout : stderr, "usage: nightly [URL [DATE [PARTS [REPORT [TTL in seconds]]]]]\n");
        return help ? 0 : 2;
    }
    try {
        return run(url, date, parts, argc > 4 ? argv[4] : "/dev/null", ttl);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "nightly: %s\n", error.what());  // fmt::print may throw
        return 1;
    }
}
