// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_THREAD_HPP
#define INTERLOCK_CORE_RUNTIME_THREAD_HPP

/// @file
/// Threads that nobody joins: for those who listen as long as somebody is interested, such as the wake-ups of
/// a store, and for blocking calls that may wait for each other.
///
///     CallThreads::of(store, kind, 16)->run([=] { store_call(); });  // at most 16 such calls at a time
///
/// A library must not join threads behind its user's back: the last handle of a store may be dropped on
/// one of its own threads, which would then wait for itself. So each thread owns what it needs, and ends
/// by itself.

#include <interlock/separate_compilation.hpp>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Runs `work` on a new thread that nobody joins, so that even the last handle of what `work` keeps alive may
/// be dropped on that thread. `work` must own all it touches, and must not throw. Throws `std::system_error`
/// when the system has no thread to give.
template <class F>
void start_detached_thread(F work)
{
    std::thread(std::move(work)).detach();
}

/// Threads on which blocking calls are made, at most `most` at a time. A thread is made when a call needs it;
/// calls beyond `most` wait in line. A thread that has nothing to do for 5 seconds ends. Nobody joins the
/// threads: each of them owns what it needs.
class CallThreads : public std::enable_shared_from_this<CallThreads> {
public:
    explicit CallThreads(std::size_t most) : most_(most) {}

    /// Makes `call` on one of the threads, or puts it in line. Throws `std::system_error` when there is no
    /// thread yet and the system has none to give.
    template <class F>
    void run(F call)
    {
        add(std::make_unique<CallOf<F>>(std::move(call)));
    }

    /// Threads without a bound: no call waits for the thread of another call. A forked child has threads of
    /// its own.
    static std::shared_ptr<CallThreads> unbounded();
    /// The threads for the calls of one `kind` to the store `store`, shared by all who ask for them while any
    /// of them exists. A forked child has threads of its own.
    static std::shared_ptr<CallThreads> of(void const* store, unsigned kind, std::size_t most);

private:
    /// A call in line, without its type.
    struct Call {
        Call() = default;
        Call(Call const&) = delete;
        Call& operator=(Call const&) = delete;
        virtual ~Call() = default;
        virtual void make() = 0;
    };
    template <class F>
    struct CallOf final : Call {
        explicit CallOf(F f) : function(std::move(f)) {}
        void make() override { std::move(function)(); }
        F function;
    };

    // `run` without the type of the call.
    void add(std::unique_ptr<Call> next);

    // What each thread does: makes calls, one after the other, without the mutex.
    void serve();

    std::mutex mutex_;
    std::condition_variable called_;           // a call came in
    std::queue<std::unique_ptr<Call>> calls_;  // the line of calls that no thread has taken
    std::size_t const most_;
    std::size_t threads_{0};  // threads that exist
    std::size_t idle_{0};     // threads that wait for a call
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/runtime/impl/thread.ipp>
#endif

#endif  // INTERLOCK_CORE_RUNTIME_THREAD_HPP
