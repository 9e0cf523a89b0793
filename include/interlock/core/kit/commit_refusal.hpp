// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_COMMIT_REFUSAL_HPP
#define INTERLOCK_CORE_KIT_COMMIT_REFUSAL_HPP

/// @file
/// For authors of stores: how a commit says which of its changes were refused.
///
///     interlock::CommitRefusal refusal{changes.size()};
///     for (auto const& change : changes)
///         refusal.add(change.key->bytes(), what_became_of(change));
///     if (refusal)
///         return std::move(refusal).failure();  // "alice: version_conflict, bob: not_found"

#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The first 64 bytes of a key in a form that may be shown: bytes that are not printable ASCII become `?`. A
/// key that is an integer between -2^48 and 2^48 is shown as a number.
std::string printable_key(std::string_view bytes);

/// The failure of a commit. Its code is that of the first change that was refused. If the commit has several
/// changes, the detail names the key and the code of each refused one; of a single change the caller knows
/// the key.
class CommitRefusal {
public:
    /// `changes`: how many changes the commit has.
    explicit CommitRefusal(std::size_t changes) noexcept : several_(changes > 1) {}

    /// Says what became of the change of the key with these bytes. `ok` is not a refusal.
    void add(std::string_view key, Errc code);
    /// The same of a commit to several places: its keys stand behind the place (see `place_of`).
    void add(std::string_view place, std::string_view key, Errc code);
    /// Whether a change was refused.
    explicit operator bool() const noexcept { return first_ != Errc::ok; }
    /// Precondition: a change was refused.
    Failure failure() && { return several_ ? Failure{first_, std::move(refused_)} : Failure{first_}; }

private:
    bool several_;          // else the detail stays empty
    Errc first_{Errc::ok};  // the code of the first refused change
    std::string refused_;   // the text of the detail
    std::string place_;     // the last one that the text names
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/commit_refusal.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_COMMIT_REFUSAL_HPP
