// SPDX-License-Identifier: BSL-1.0

#include "workers.hpp"

#include <interlock/core/runtime/progress.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <iostream>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace outbox {

namespace {

constexpr std::size_t sellers = 8;   // threads of each worker
constexpr std::size_t shippers = 8;  // likewise

/// Threads that end together: the first one that throws ends the others, and `join` throws it on.
class Threads {
public:
    explicit Threads(std::stop_token stop) : outside_(std::move(stop), [this] { stop_.request_stop(); }) {}

    template <class F>
    void start(F run)
    {
        threads_.emplace_back([this, run = std::move(run)] {
            try {
                run(stop_.get_token());
            } catch (...) {
                std::lock_guard const lock(mutex_);
                if (!failed_)
                    failed_ = std::current_exception();
                stop_.request_stop();
            }
        });
    }
    void join()
    {
        for (auto& thread : threads_)
            thread.join();
        threads_.clear();
        if (failed_)
            std::rethrow_exception(failed_);
    }

private:
    std::stop_source stop_;
    std::stop_callback<std::function<void()>> outside_;
    std::mutex mutex_;
    std::exception_ptr failed_;
    std::vector<std::jthread> threads_;
};

}  // namespace

void work(
    Shop const& shop, Options const& options, std::size_t worker, std::stop_token stop,
    std::function<void(Said)> const& say)
{
    std::atomic<std::size_t> next{worker};
    std::atomic<std::size_t> selling{sellers};
    Threads threads{std::move(stop)};
    for (std::size_t i = 0; i < sellers; ++i)
        threads.start([&](std::stop_token const& ends) {
            // A worker that was killed begins anew: it need not know what it had sold, since the shop does.
            for (auto sale = next.fetch_add(options.processes);
                 sale < options.sales && !ends.stop_requested(); sale = next.fetch_add(options.processes))
                if (shop.sell(sale))
                    say(Said::sold);
            if (--selling == 0 && !ends.stop_requested())
                say(Said::sold_all);
        });
    for (std::size_t i = 0; i < shippers; ++i)
        threads.start([&](std::stop_token ends) { shop.ship(std::move(ends), [&] { say(Said::shipped); }); });
    threads.join();
}

void work_in_threads(Shop const& shop, Options const& options)
{
    std::atomic<std::size_t> sold{0};
    std::atomic<std::size_t> shipped{0};
    std::atomic<std::size_t> selling{options.processes};
    std::stop_source stop;
    interlock::Progress progress{std::cerr, "outbox", options.sales, "sales shipped"};
    Threads workers{stop.get_token()};
    for (std::size_t worker = 0; worker < options.processes; ++worker)
        workers.start([&, worker](std::stop_token ends) {
            try {
                work(shop, options, worker, std::move(ends), [&](Said said) {
                    if (said == Said::sold_all)
                        --selling;
                    else
                        ++(said == Said::sold ? sold : shipped);
                });
            } catch (...) {
                stop.request_stop();
                throw;
            }
        });
    while (!stop.stop_requested() && (selling > 0 || !shop.all_shipped())) {
        progress.show(shipped);
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    stop.request_stop();
    workers.join();
}

}  // namespace outbox
