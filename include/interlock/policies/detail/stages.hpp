// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_STAGES_HPP
#define INTERLOCK_POLICIES_DETAIL_STAGES_HPP

/// @file
/// Memory that serves a call twice: for what it needs while it waits for its turn, and then for what it needs
/// once its turn has come. Very many calls wait at a time, and few of them have their turn.

#include <interlock/core/kit/assertion.hpp>

#include <memory>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class Waiting, class Working>
class Stages {
public:
    Stages() noexcept {}
    Stages(Stages const&) = delete;
    Stages& operator=(Stages const&) = delete;
    ~Stages() { clear(); }

    /// What it waits with; null while it does not wait.
    Waiting* waiting() noexcept { return at_ == At::waiting ? &waiting_ : nullptr; }
    template <class... A>
    Waiting& wait(A&&... arguments)
    {
        clear();
        std::construct_at(&waiting_, std::forward<A>(arguments)...);
        at_ = At::waiting;
        return waiting_;
    }
    void end_wait() noexcept
    {
        if (at_ == At::waiting)
            clear();
    }

    /// What it works with: made now, or left by the run before.
    template <class... A>
    Working& work(A&&... arguments)
    {
        if (at_ != At::working) {
            clear();
            std::construct_at(&working_, std::forward<A>(arguments)...);
            at_ = At::working;
        }
        return working_;
    }
    bool works() const noexcept { return at_ == At::working; }
    /// Precondition: it works.
    Working& working() noexcept
    {
        INTERLOCK_ASSERT(works(), "a call works with what its turn has brought");
        return working_;
    }
    Working const& working() const noexcept
    {
        INTERLOCK_ASSERT(works(), "a call works with what its turn has brought");
        return working_;
    }

private:
    enum class At : unsigned char { nothing, waiting, working };

    void clear() noexcept
    {
        switch (std::exchange(at_, At::nothing)) {
        case At::waiting: return std::destroy_at(&waiting_);
        case At::working: return std::destroy_at(&working_);
        case At::nothing: return;
        }
    }

    union {
        Waiting waiting_;
        Working working_;
    };
    At at_{At::nothing};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_STAGES_HPP
