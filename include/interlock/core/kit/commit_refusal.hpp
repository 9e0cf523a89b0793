// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_COMMIT_REFUSAL_HPP
#define INTERLOCK_CORE_KIT_COMMIT_REFUSAL_HPP

/// @file
/// For backends: how a commit says which of its changes were refused.

#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The beginning of a key, as it may be shown.
inline std::string printable_key(std::string_view bytes)
{
    std::string out;
    for (char c : bytes.substr(0, 64))
        out += c >= ' ' && c <= '~' ? c : '?';
    return out;
}

/// The failure of a commit of so many changes: the code of the first that was refused, and, where there are several,
/// every refused one's key and code in the detail.
class CommitRefusal {
public:
    /// `changes`: how many the commit has.
    explicit CommitRefusal(std::size_t changes) noexcept : several_(changes > 1) {}

    /// What became of the change of `key`, its bytes; `ok` says nothing.
    void add(std::string_view key, Errc code)
    {
        if (code == Errc::ok)
            return;
        if (first_ == Errc::ok)
            first_ = code;
        if (!several_)
            return;
        refused_ += refused_.empty() ? "" : ", ";
        refused_ += printable_key(key);
        refused_ += ": ";
        refused_ += name_of(code);
    }
    /// Whether any was refused.
    explicit operator bool() const noexcept { return first_ != Errc::ok; }
    Failure failure() && { return several_ ? Failure{first_, std::move(refused_)} : Failure{first_}; }

private:
    bool several_;
    Errc first_{Errc::ok};
    std::string refused_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_COMMIT_REFUSAL_HPP
