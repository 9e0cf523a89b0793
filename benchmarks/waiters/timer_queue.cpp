// SPDX-License-Identifier: BSL-1.0

// The rival: a fair asynchronous mutex as one writes it by hand, which is a queue of timers that never
// expire. It has neither deadlines nor a state to protect.

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "contestants.hpp"

#include <list>
#include <memory>

namespace {

class Mutex {
public:
    bool try_lock()
    {
        if (taken_)
            return false;
        taken_ = true;
        return true;
    }

    void enqueue(asio::steady_timer& timer) { queue_.push_back(&timer); }

    void unlock()
    {
        if (queue_.empty()) {
            taken_ = false;
            return;
        }
        auto* const next = queue_.front();
        queue_.pop_front();
        next->cancel();
    }

    std::size_t waiting() const { return queue_.size(); }

private:
    std::list<asio::steady_timer*> queue_;
    bool taken_{false};
};

}  // namespace

Cost timer_queue(std::size_t waiters, Style style)
{
    using Time = asio::steady_timer::time_point;
    asio::io_context context{1};
    Mutex mutex;
    std::size_t done = 0;
    struct Waiting {
        asio::steady_timer timer;
        Mutex& mutex;
        std::size_t& done;
    };
    auto const wait = [](asio::io_context& ctx, Mutex& m, std::size_t& count) -> asio::awaitable<void> {
        if (!m.try_lock()) {
            asio::steady_timer timer(ctx, Time::max());
            m.enqueue(timer);
            boost::system::error_code error;
            co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
        }
        ++count;
        m.unlock();
    };
    mutex.try_lock();
    return weigh_and_time(
        context, waiters, style, [&] { return wait(context, mutex, done); },
        [&] {
            auto own =
                std::make_unique<Waiting>(Waiting{asio::steady_timer(context, Time::max()), mutex, done});
            auto& waiting = *own;
            mutex.enqueue(waiting.timer);
            waiting.timer.async_wait([kept = std::move(own)](boost::system::error_code) {
                ++kept->done;
                kept->mutex.unlock();
            });
        },
        [&] { return mutex.waiting(); }, [&] { mutex.unlock(); }, [&] { return done; });
}
