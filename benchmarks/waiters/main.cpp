// SPDX-License-Identifier: BSL-1.0

// Many coroutines waiting for one key: what does each of them cost in memory, and does handing the key from one to the
// next cost the same however long the queue is?
//
// Memory: every byte from operator new is counted with what malloc really took for it (malloc_usable_size). First all
// coroutines are started and suspend on a plain Asio timer: that is the user's own coroutine with its frame. Then the
// timers are cancelled and all of them wait in the library. The difference of the two, per coroutine, is what waiting in
// the library costs: the operation, its queue entries, its deadline, and the frames of Asio's `use_awaitable` that the call
// needs; less the timer wait that is gone. That wait is measured and added again.

#include "../support/harness.hpp"

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <malloc.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace {

std::atomic<std::ptrdiff_t> live_bytes{0};

void* counted(std::size_t size)
{
    void* const memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr)
        throw std::bad_alloc();
    live_bytes.fetch_add(static_cast<std::ptrdiff_t>(malloc_usable_size(memory)) + 8, std::memory_order_relaxed);
    return memory;
}

void uncounted(void* memory) noexcept
{
    if (memory != nullptr)
        live_bytes.fetch_sub(static_cast<std::ptrdiff_t>(malloc_usable_size(memory)) + 8, std::memory_order_relaxed);
    std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { uncounted(memory); }
void operator delete[](void* memory) noexcept { uncounted(memory); }
void operator delete(void* memory, std::size_t) noexcept { uncounted(memory); }
void operator delete[](void* memory, std::size_t) noexcept { uncounted(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void* operator new(std::size_t size, std::align_val_t align)
{
    void* const memory = std::aligned_alloc(static_cast<std::size_t>(align), (size + 63) / 64 * 64);
    if (memory == nullptr)
        throw std::bad_alloc();
    return memory;
}

namespace {

namespace il = interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct Figures {
    double bytes;        // per waiter, beyond the user's coroutine
    double nanoseconds;  // per hand-off
};

template <class Service>
asio::awaitable<void> waiter(Service const& service, asio::steady_timer& gate, int& done)
{
    boost::system::error_code ignored;
    co_await gate.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    auto const take = [](Stock& stock) { ++stock.quantity; };
    co_await service.async_do_in_transaction("hot", take, il::CallOptions{.deadline = 10min}, asio::use_awaitable);
    ++done;
}

/// Bytes of one suspended wait on a timer, as every waiter holds one at first.
double bytes_of_timer_wait(int count)
{
    asio::io_context io;
    asio::steady_timer gate(io, asio::steady_timer::time_point::max());
    auto const before = live_bytes.load();
    for (int i = 0; i < count; ++i)
        gate.async_wait([](boost::system::error_code) {});
    auto const after = live_bytes.load();
    gate.cancel();
    io.run();
    return static_cast<double>(after - before) / count;
}

template <class Policy>
Figures measure(Policy policy, int count)
{
    il::memory::StateRepository<Stock> stock;
    stock.insert({"hot", 0}).value();
    il::TransactionService service{policy, stock};
    Figures figures{};
    int done = 0;
    {
        asio::io_context io;
        asio::steady_timer gate(io, asio::steady_timer::time_point::max());
        // The holder: an operation that ends when all are in line.
        asio::steady_timer hold(io, asio::steady_timer::time_point::max());
        auto const holding = [&hold](Stock&) -> asio::awaitable<void> {
            boost::system::error_code ignored;
            co_await hold.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        };
        auto holder = [&]() -> asio::awaitable<void> {
            co_await service.async_do_in_transaction("hot", holding, asio::use_awaitable);
        };
        asio::co_spawn(io, holder(), asio::detached);
        io.poll();
        for (int i = 0; i < count; ++i)
            asio::co_spawn(io, waiter(service, gate, done), asio::detached);
        io.poll();
        auto const suspended = live_bytes.load();
        gate.cancel();
        io.poll();
        figures.bytes = static_cast<double>(live_bytes.load() - suspended) / count + bytes_of_timer_wait(1000);
        auto const start = std::chrono::steady_clock::now();
        hold.cancel();
        io.run();
        figures.nanoseconds =
            std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / count;
    }
    auto const end = stock.load("hot").value().value.quantity;
    if (done != count || end != count) {
        std::fprintf(stderr, "waiters: %d of %d done, the counter says %d\n", done, count, end);
        std::exit(1);
    }
    return figures;
}

}  // namespace

int main(int argc, char** argv)
{
    auto const options = bench::parse(argc, argv);
    auto const rounds = options.rounds > 0 ? options.rounds : options.smoke ? 1 : 5;
    auto const counts = options.smoke ? std::vector{100, 1000} : std::vector{1000, 10000, 100000};
    if (!options.csv)
        std::printf(
            "waiters: bytes per waiter beyond the user's coroutine (target < 1024), ns per hand-off (target: flat)\n"
            "  %-24s %8s %12s %12s %12s %12s\n",
            "contestant", "waiters", "bytes", "ns min", "ns median", "ns max");
    bool small = true;
    auto const contest = [&](char const* name, auto policy) {
        std::vector<double> first;
        for (int const count : counts) {
            std::vector<double> bytes, times;
            for (int round = 0; round < rounds; ++round) {
                auto const figures = measure(policy, count);
                bytes.push_back(figures.bytes);
                times.push_back(figures.nanoseconds);
                if (options.csv)
                    std::printf("waiters,%d,%s,%d,%.1f,bytes,%.1f,ns\n", count, name, round, figures.bytes, figures.nanoseconds);
            }
            if (first.empty())
                first = times;
            small = small && bench::median(bytes) < 1024;
            if (!options.csv)
                std::printf(
                    "  %-24s %8d %12.0f %12.0f %12.0f %12.0f   %.2f x the shortest queue\n", name, count,
                    bench::median(bytes), bench::least(times), bench::median(times), bench::greatest(times),
                    bench::median(times) / bench::median(first));
        }
    };
    contest("pessimistic_row_lock", il::PessimisticRowLock{});
    contest("set_nx_lock", il::SetNxLock{});
    if (!options.csv)
        std::printf("  bytes per waiter: target %s\n", small ? "reached" : "MISSED");
    return 0;
}
