// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_RAW_CHANGES_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_RAW_CHANGES_HPP

// The changes of a commit for whoever does not know the type of its states.

#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/detail/stored.hpp>
#include <interlock/core/codec/stored_shape.hpp>
#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// A `Change<T>`, without the type of its value. Points to what that points to.
struct RawChange {
    Key const* key{nullptr};
    ChangeKind kind{ChangeKind::write};
    Version version{no_version};  // as `Change::version`: expected, and then the new one
    void const* value{nullptr};
    Fence const* fence{nullptr};
    bool release{false};
    std::span<NewEvent const> events{};
};

/// The changes of one commit, and how their values are encoded.
class RawChanges {
public:
    template <class T>
    explicit RawChanges(std::span<Change<T> const> changes)
        : size_(changes.size()), encode_([](void const* value, std::string_view stored, std::string& out) {
              return interlock::detail::encode_state_over(stored, *static_cast<T const*>(value), out);
          })
    {
        if (size_ > few_.size())
            more_.resize(size_);
        auto* raw = begin();
        for (auto const& change : changes) {
            *raw++ = {change.key,   change.kind,    change.version, change.value,
                      change.fence, change.release, change.events};
            streams_ += change.events.empty() ? 0 : 1;
        }
    }

    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    /// How many of the changes bring events.
    std::size_t streams() const noexcept { return streams_; }
    RawChange* begin() noexcept { return size_ > few_.size() ? more_.data() : few_.data(); }
    RawChange* end() noexcept { return begin() + size_; }
    RawChange const& operator[](std::size_t i) const noexcept
    {
        return size_ > few_.size() ? more_[i] : few_[i];
    }

    /// Appends the encoded value of a change, with what `stored`, which it takes the place of, has and the
    /// type does not know. Returns why it cannot be encoded, if so.
    std::optional<Failure> encode(RawChange const& change, std::string_view stored, std::string& out) const
    {
        return encode_(change.value, stored, out);
    }

private:
    std::size_t size_;
    std::size_t streams_{0};
    std::array<RawChange, 2>
        few_{};                    // the changes of most commits, which therefore allocate nothing for them
    std::vector<RawChange> more_;  // all of the changes, where there are more than that
    std::optional<Failure> (*encode_)(void const*, std::string_view, std::string&);
};

/// The word that says of a change everything but its data. `W`: a `Command` or a `ScriptCall`.
template <class W>
void add_change(W& words, RawChange const& change)
{
    constexpr std::string_view none = "----------------";
    auto const kind = change.kind == ChangeKind::write    ? "w"
                      : change.kind == ChangeKind::erase  ? "e"
                      : change.kind == ChangeKind::verify ? "v"
                                                          : "g";
    auto const version = static_cast<std::uint64_t>(change.version);
    bool const absent = change.version == no_version;
    bool const last = absent || change.version >= greatest_number;
    PaddedNumber<16> const expected{version};
    PaddedNumber<16> const next{version + 1};
    std::array<std::string_view, 6> parts{
        kind, absent ? none : std::string_view{expected}, last ? none : std::string_view{next}, "", "", ""};
    if (change.fence == nullptr) {
        words.add_parts(parts);
        return;
    }
    auto const owner = change.fence->owner.bytes();
    PaddedNumber<16> const token{std::min<std::uint64_t>(change.fence->token.value(), greatest_number)};
    parts[3] = {owner.data(), owner.size()};
    parts[4] = token;
    parts[5] = change.release ? "1" : "0";
    words.add_parts(parts);
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_RAW_CHANGES_HPP
