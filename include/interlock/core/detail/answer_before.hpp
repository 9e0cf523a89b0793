// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_ANSWER_BEFORE_HPP
#define INTERLOCK_CORE_DETAIL_ANSWER_BEFORE_HPP

/// @file
/// The last attempt of a call may have had a moment only, in which the store did not answer it: then what the
/// store said to the attempt before is why the call failed.

#include <interlock/core/outcome.hpp>

#include <new>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `last`, and behind its text that of `before`, unless it has that already. Without memory `last` stands
/// alone.
inline Failure with_answer_before(Failure last, Failure const& before) noexcept
{
    try {
        if (!before.has_detail() || last.detail().find(before.detail()) != std::string::npos)
            return last;
        auto text = last.has_detail() ? last.detail() + "; " : std::string{};
        (text += "before that: ") += before.detail();
        return Failure{last}.with_detail(std::move(text));
    } catch (std::bad_alloc const&) {
        return last;
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_ANSWER_BEFORE_HPP
