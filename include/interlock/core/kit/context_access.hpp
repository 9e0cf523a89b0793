// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_CONTEXT_ACCESS_HPP
#define INTERLOCK_CORE_KIT_CONTEXT_ACCESS_HPP

/// @file
/// What a policy tells the context of a running operation, and what it may ask beyond what the operation may.
///
/// An operation sees a `TransactionContext` that it can only read. Its policy fills it in: a policy with
/// locks says which fences they have and who knows when they are lost, an idempotent one asks which request
/// is being executed.
///
///     Transaction(..., TransactionContext& context) : context_(context)
///     {
///         ContextAccess::set_loss_source(context_, this);
///     }
///     ...
///     ContextAccess::set_fences(context_, fences_);
///     auto const* request = ContextAccess::request(context_);

#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/separate_compilation.hpp>

#include <span>
#include <vector>

namespace interlock {
inline namespace v0 {

/// The only way to what `TransactionContext` keeps from the operation. For policies, and for the driver of a
/// call.
class ContextAccess {
public:
    // For policies.
    /// The fence of each key's lock, in the order of the keys; outlives the call, or none takes it back.
    static void set_fences(TransactionContext& context, std::span<Fence const> fences) noexcept
    {
        context.fences_ = fences.data();
    }
    /// Null takes it back.
    static void set_loss_source(TransactionContext& context, LossSource* source) noexcept
    {
        context.loss_ = source;
    }
    /// Null when the call is no idempotent one.
    static IdempotentRequest const* request(TransactionContext const& context) noexcept
    {
        return context.request_;
    }

    /// Of an operation that records; else null.
    static Recorder* recorder(TransactionContext const& context) noexcept { return context.recorder_; }
    /// What was recorded by the run that is to be committed.
    static std::vector<NewEvent>& events(Recorder& recorder) noexcept { return recorder.events_; }

    /// The wait of a policy that says `wait`: a call that tries once waits for nobody.
    static Wait wait(TransactionContext const& context, Wait wait) noexcept
    {
        return context.tries_once_ ? Wait::no : wait;
    }

    /// The keys in the store `store` of the operation, and of those around it. `places`: that store is made
    /// of several, else null.
    static std::vector<Key> keys_around(
        TransactionContext const& context, void const* store, KeyPlaces const* places = nullptr);
    /// Whether `context`, or an operation around it, works on `key` of the call of `inner`.
    static bool holds(
        TransactionContext const& context, TransactionContext const& inner, Key const& key) noexcept
    {
        return context.holds(inner.place_of(key));
    }
    /// The operation that made this call; null: none.
    static TransactionContext const* outer(TransactionContext const& context) noexcept
    {
        return context.outer_;
    }

    // For the driver.
    /// The store of the call is `repository`, which may be made of several.
    template <class R>
    static void set_places_of(TransactionContext& context, R const& repository) noexcept
    {
        context.places_ = key_places_of(repository);
    }
    /// Null: it is not made of several.
    template <class R>
    static KeyPlaces const* key_places_of([[maybe_unused]] R const& repository) noexcept
    {
        if constexpr (requires { repository.key_places(); })
            return repository.key_places();
        else
            return nullptr;
    }
    static void set_tries_once(TransactionContext& context) noexcept { context.tries_once_ = true; }
    static void set_attempt(TransactionContext& context, int attempt) noexcept { context.attempt_ = attempt; }
    static void set_operation_id(TransactionContext& context, OperationId const* id) noexcept
    {
        context.operation_id_ = id;
    }
    static void set_request(TransactionContext& context, IdempotentRequest const* request) noexcept
    {
        context.request_ = request;
    }
    static void set_recorder(TransactionContext& context, Recorder* recorder) noexcept
    {
        context.recorder_ = recorder;
    }
    static void set_cause(TransactionContext& context, Cause const* cause) noexcept
    {
        context.cause_ = cause;
    }
    static void set_outer(TransactionContext& context, TransactionContext const* outer) noexcept
    {
        context.outer_ = outer;
    }
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/context_access.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_CONTEXT_ACCESS_HPP
