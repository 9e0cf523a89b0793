// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_INBOX_HPP
#define INTERLOCK_PATTERNS_INBOX_HPP

/// @file
/// A message is delivered again whenever somebody is not sure that it has arrived. An `Inbox` lets it have
/// its effect once: the effect, and the record that the message was handled, are one commit.
///
///     interlock::Inbox const inbox{shipments, "shipping"};  // `shipments`: a TransactionService
///     subscription.run([&](interlock::Event const& event) {
///         auto const sold = [&](Sold const& fact) {
///             return inbox.handle(event, fact.sku, [&](Shipment& s) { s.parcels += fact.quantity; });
///         };
///         return interlock::match(event, sold, interlock::otherwise::ignore);  // other facts: passed over
///     }, stop);
///     // the same event again, from whatever process: `Handled::duplicate`, and nothing is changed
///
/// `handle` reports a failure, and does not throw it: return its outcome to the subscription, which tries the
/// event again. A handler that drops the outcome says that an event is done which had no effect.
///
/// The log that the event comes from, or the broker, and the store of the effect need not know each other.

#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/detail/inbox_handler.hpp>
#include <interlock/patterns/message.hpp>

#include <boost/asio/async_result.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// What became of a message.
enum class Handled : unsigned char {
    processed,  ///< it had its effect now
    duplicate,  ///< it had its effect before, and nothing was changed now
};

/// How an inbox keeps in mind what it has handled.
struct InboxOptions {
    /// How long, at least, a message is known after it was handled; the store's own retention, 24 hours by
    /// default, if that is longer. It must be longer than a message can take to come again: the broker's
    /// retention, the time until somebody replays a dead-letter queue, the age of a backup.
    std::chrono::nanoseconds remember{0};
};

namespace detail {

/// The outcome that a caller of an inbox gets, made from that of the transaction.
template <class R>
using handled_t = std::conditional_t<std::is_void_v<R>, Handled, R>;
template <class R>
Outcome<handled_t<R>> handled(Outcome<R> done)
{
    if constexpr (!std::is_void_v<R>) {
        return done;
    } else {
        if (!done)
            return std::move(done).failure();
        Outcome<Handled> outcome{done.replayed() ? Handled::duplicate : Handled::processed};
        if (done.replayed())
            outcome.mark_replayed();
        return outcome;
    }
}

/// What an asynchronous call of an inbox keeps until it has ended.
template <class Service, class A, class F>
struct InboxRequest {
    Service service;
    OperationId id;
    Cause because;
    A key;
    F operation;
    CallOptions options;
    std::optional<Failure> refused{};  // why the message has no operation id, in words

    /// What the caller gets of the transaction's outcome.
    template <class R>
    Outcome<handled_t<R>> answered(Outcome<R> done) const
    {
        if (refused)
            return *refused;
        return detail::handled(std::move(done));
    }
};

}  // namespace detail

/// Lets each message have its effect at most once per consumer, however often and to however many processes
/// it is delivered: the message's id, under the consumer's name, is the operation id of a transaction.
///
/// **Guarantee.** That of `OperationId`: of all deliveries of one message to one consumer at most one has an
/// effect, for as long as the record is kept; see `InboxOptions::remember`. A call that ends as unknown, or
/// whose process dies, is made again with the next delivery and finds out. What the operation records has the
/// message as its cause, see `because_of`. **Does not guarantee.** Anything about what the operation does
/// elsewhere than in its state: it may run more than once. That a message has its effect at all, which is the
/// business of who delivers it. Anything when two deliveries of one message name two keys: derive the key
/// from the message alone. **Needs.** An `OperationRepository`. **Lifetimes and thread safety.** Those of the
/// service, which it keeps a copy of. **Cost.** That of a transaction with an operation id.
///
/// `Service`: a `TransactionService` under any policy that takes operation ids.
template <class Service>
class Inbox {
    using T = typename Service::value_type;

public:
    /// `consumer`: the name of what handles the messages. Two consumers of one store handle each message once
    /// each. It has no '/', and at most 200 bytes; else every call ends as `invalid_argument`.
    Inbox(Service service, std::string consumer, InboxOptions options = {})
        : service_(std::move(service)), consumer_(std::move(consumer)), options_(options)
    {}

    /// The name of what handles the messages.
    std::string const& consumer() const noexcept { return consumer_; }
    /// In which the effects are made.
    Service const& service() const noexcept { return service_; }

    /// Runs `operation` on the state that `key` names, unless `message` was handled before. `message`: an
    /// `Event`, or a `Message`.
    ///
    /// **Outcome.** Of an operation that returns nothing: `Handled`. Of another one: its result, or, of a
    /// duplicate, that of the run that was committed; `replayed()` tells them apart. A failure is that of
    /// `try_do_in_transaction`; `invalid_argument` also names an id that is empty or, with the consumer's
    /// name, longer than 255 bytes. Throws what `operation` throws, and the message was not handled then.
    template <class A, class F>
    auto handle(Message const& message, A const& key, F&& operation, CallOptions options = {}) const
    {
        using Done = decltype(service_.try_do_in_transaction(id_of(message), key, operation, options));
        using Answer = Outcome<detail::handled_t<typename Done::value_type>>;
        if (auto valid = validate(message); !valid)
            return Answer{std::move(valid).failure()};
        if (options.cause == nullptr)
            options.cause = &message.because();
        return Answer{detail::handled(
            service_.try_do_in_transaction(id_of(message), key, std::forward<F>(operation), options))};
    }

    /// As `handle`, without blocking; the operation may be a coroutine.
    ///
    /// **Completion.** `void(std::exception_ptr, Outcome<...>)`, where the outcome is that of `handle`, on
    /// the handler's associated executor, exactly once, never from within this call. **Cancellation.** As
    /// that of `async_try_do_in_transaction`. **Lifetimes.** Message, key and operation are copied or moved;
    /// what the operation refers to must outlive the call.
    template <class A, class F, class CompletionToken>
    auto async_handle(
        Message const& message, A&& key, F&& operation, CallOptions options, CompletionToken&& token) const
    {
        static_assert(detail::safe_argument<A>, INTERLOCK_NAME_IT_FIRST);
        static_assert(
            detail::safe_operation<F>,
            "name it first: g++ 12 destroys a closure written inside a co_await expression twice");
        using Session = detail::InAsyncCall<
            detail::session_of<typename Service::policy_type, typename Service::repository_type>>;
        using Operation = std::decay_t<F>;
        using Named = detail::named_states<std::decay_t<A>, T, typename Service::key_type>;
        using R = detail::operation_result<Operation, Session, Named::count>;
        using KeptKey = std::decay_t<decltype(detail::keys_part(std::as_const(key)))>;
        using Request = detail::InboxRequest<Service, KeptKey, Operation>;
        auto because = options.cause == nullptr ? message.because() : *options.cause;
        std::optional<Failure> refused;
        if (auto valid = validate(message); !valid)
            refused = std::move(valid).failure();
        return boost::asio::async_initiate<
            CompletionToken, void(std::exception_ptr, Outcome<detail::handled_t<R>>)>(
            [](auto handler, std::unique_ptr<Request> request) {
                auto& kept = *request;
                kept.options.cause = &kept.because;
                detail::InboxHandler<decltype(handler), R, Request> done{
                    std::move(handler), std::move(request)};
                if constexpr (std::is_lvalue_reference_v<F>)
                    kept.service.async_try_do_in_transaction(
                        kept.id, kept.key, kept.operation, kept.options, std::move(done));
                else
                    kept.service.async_try_do_in_transaction(
                        kept.id, kept.key, std::move(kept.operation), kept.options, std::move(done));
            },
            token,
            std::unique_ptr<Request>(new Request{
                service_, id_of(message), std::move(because), detail::keys_part(std::as_const(key)),
                std::forward<F>(operation), options, std::move(refused)}));
    }

    /// The same with the default options.
    template <class A, class F, class CompletionToken>
    auto async_handle(Message const& message, A&& key, F&& operation, CompletionToken&& token) const
    {
        return async_handle(
            message, std::forward<A>(key), std::forward<F>(operation), CallOptions{},
            std::forward<CompletionToken>(token));
    }

    /// The operation id under which `message` is remembered: the consumer's name, '/', and the message's id.
    /// It is empty, and so refused, where there can be none.
    OperationId id_of(Message const& message) const
    {
        if (!validate(message))
            return OperationId{std::string{}};
        OperationId id{consumer_ + '/' + message.id()};
        id.keep_for(options_.remember);
        return id;
    }

private:
    Outcome<void> validate(Message const& message) const
    {
        if (consumer_.empty() || consumer_.size() > 200 || consumer_.find('/') != std::string::npos)
            return Failure{
                Errc::invalid_argument,
                "an inbox: the name of a consumer has 1 to 200 bytes, none of them '/', and this is '" +
                    std::string(detail::beginning_of(consumer_, 200)) + "'"};
        if (message.id().empty())
            return Failure{
                Errc::invalid_argument,
                "the inbox of '" + consumer_ + "': a message without an id cannot be known again"};
        if (consumer_.size() + 1 + message.id().size() > OperationId::max_size)
            return Failure{
                Errc::invalid_argument, "the inbox of '" + consumer_ + "': the id '" +
                                            std::string(detail::beginning_of(message.id(), 40)) +
                                            "...' has " + std::to_string(message.id().size()) +
                                            " bytes; at most " +
                                            std::to_string(OperationId::max_size - 1 - consumer_.size()) +
                                            " fit beside the consumer's name"};
        return success();
    }

    Service service_;
    std::string consumer_;
    InboxOptions options_;
};

template <class Service>
Inbox(Service, std::string, InboxOptions = {}) -> Inbox<Service>;
template <class Service>
Inbox(Service, char const*, InboxOptions = {}) -> Inbox<Service>;

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_INBOX_HPP
