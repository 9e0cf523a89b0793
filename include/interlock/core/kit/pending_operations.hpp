// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_PENDING_OPERATIONS_HPP
#define INTERLOCK_CORE_KIT_PENDING_OPERATIONS_HPP

/// @file
/// For asynchronous operations of the library: which of them are pending on an execution context, so that
/// the context's end is theirs. Asio's rule is that a context which is destroyed destroys its pending
/// handlers and calls none of them; an operation that waits in a queue of ours must keep that rule, too.
///
///     auto const list = PendingOperations::list_of(context);
///     std::lock_guard lock(list->mutex);
///     list->members.push_back(operation);  // `operation.abandon()` is called when `context` goes away

#include <interlock/separate_compilation.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/intrusive/list_hook.hpp>

#include <atomic>
#include <memory>
#include <mutex>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The operations pending on one execution context. When it is destroyed they are, too (Asio's rule): their
/// handlers are destroyed and never called.
///
/// **Lifetimes.** A list outlives its context, since those who are about to leave it hold it, too; its flag
/// `gone` tells them that there is nothing left to leave.
/// **Thread safety.** `list_of` may be called from any thread while the context lives.
class PendingOperations final : public boost::asio::execution_context::service {
public:
    class Member : public boost::intrusive::list_base_hook<
                       boost::intrusive::link_mode<boost::intrusive::normal_link>> {
    public:
        /// The context goes away.
        virtual void abandon() noexcept = 0;

    protected:
        ~Member() = default;
    };

    using Members = boost::intrusive::list<Member, boost::intrusive::constant_time_size<false>>;
    /// Where operations are linked. An operation holds the mutex to enter and to leave.
    struct List {
        std::mutex mutex;
        std::atomic<bool> gone{false};  // changed under the mutex
        Members members;
    };

    using key_type = PendingOperations;
    inline static boost::asio::execution_context::id id;

    explicit PendingOperations(boost::asio::execution_context& context) : service(context) {}

    /// That of `context`. Every operation asks, so each thread remembers what it asked for last; a context
    /// that has the address of one before it is another one: the list of that one is gone.
    static std::shared_ptr<List> list_of(boost::asio::execution_context& context);

private:
    struct Last {
        Last() = default;
        Last(Last const&) = delete;
        Last& operator=(Last const&) = delete;
        ~Last() { ended = true; }
        boost::asio::execution_context const* context{nullptr};
        std::shared_ptr<List> list;
        static inline constinit thread_local bool ended = false;
    };

    void shutdown() noexcept override;

    std::shared_ptr<List> list_{std::make_shared<List>()};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/pending_operations.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_PENDING_OPERATIONS_HPP
