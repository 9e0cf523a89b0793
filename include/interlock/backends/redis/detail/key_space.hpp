// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_KEY_SPACE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_KEY_SPACE_HPP

// The names of keys as the server knows them: `<prefix>v1:{<name space>.<shard>}:<kind>:<length>:<bytes>`.
// Redis chooses the slot by what the braces hold, so all keys of a shard are in one slot. Some names end with
// two parts; the length says where the first one ends.
//
// By default there is no prefix. Whatever a name space has up to its last colon is one, and the client may
// have another in front of it: `shop:states` makes names that begin with `shop:v1:{states.0}:`. The braces
// hold what is behind the colon only, so that the version still stands before them, where scripts expect it.

#include <interlock/core/key.hpp>
#include <interlock/fwd.hpp>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Where a repository keeps what it has, for texts.
[[gnu::cold]] inline std::string place_of_name_space(std::string_view prefix, std::string_view name_space)
{
    return ("redis name space \"" + std::string(prefix)).append(name_space) + '"';
}

/// A physical name, as the parts of which it consists. It refers to what it was made of, which must outlive
/// it.
class Name {
public:
    /// `head` is that of the `KeySpace`. `kind` and what follows it stand behind the shard; nothing does
    /// where there is no `first`.
    Name(
        std::string_view head, std::size_t shard, std::string_view kind,
        std::optional<std::string_view> first = {}, std::string_view second = {})
    {
        auto const digits = [](std::array<char, 20>& out, std::size_t number) {
            auto const end = std::to_chars(out.data(), out.data() + out.size(), number);
            return std::string_view{out.data(), static_cast<std::size_t>(end.ptr - out.data())};
        };
        auto const number = digits(shard_, shard);
        if (first)
            parts_ = {head, number, "}:", kind, ":", digits(size_, first->size()), ":", *first, second};
        else
            parts_ = {head, number, "}:", kind};
    }
    Name(Name const&) = delete;
    Name& operator=(Name const&) = delete;

    std::span<std::string_view const> parts() const noexcept { return parts_; }
    [[gnu::noinline]] std::string text() const
    {
        std::string out;
        for (auto const part : parts_)
            out += part;
        return out;
    }
    /// The `fnv1a` of the text.
    std::uint64_t hash() const noexcept
    {
        auto hash = interlock::detail::fnv1a({});
        for (auto const part : parts_)
            hash = interlock::detail::fnv1a(part, hash);
        return hash;
    }

private:
    std::array<char, 20> shard_;
    std::array<char, 20> size_;
    std::array<std::string_view, 9> parts_;
};

/// The names of one name space. What makes names is not inlined: every verb names two or three keys.
class KeySpace {
public:
    /// How many wake channels a name space has at least. A channel belongs to the slot of a shard, so there
    /// is one for each shard where there are more shards than this.
    static constexpr std::size_t least_channels = 64;

    /// What a physical name is to those who wait for it: messages about it come on one of the wake channels,
    /// and it is known by its hash.
    struct WakeName {
        std::uint64_t hash;
        std::size_t channel;
    };

    /// `prefix`: what all names begin with, before that of the name space itself.
    KeySpace(std::string_view name_space, std::size_t shards, std::string_view prefix = {})
        : head_(prefix), shards_(shards)
    {
        auto const name = name_space.rfind(':') + 1;  // 0 where there is no colon
        head_.append(name_space.substr(0, name)).append("v1:{").append(name_space.substr(name)).append(".");
    }

    /// What every name begins with: the prefix, the version, and the name space up to the number of the
    /// shard. Two key spaces with the same head have the same names.
    std::string const& head() const noexcept { return head_; }
    std::size_t shards() const noexcept { return shards_; }
    [[gnu::noinline]] std::size_t shard_of(std::string_view bytes) const noexcept
    {
        return shards_ == 1 ? 0 : static_cast<std::size_t>(interlock::detail::fnv1a(bytes) % shards_);
    }
    [[gnu::noinline]] Name name(std::string_view kind, std::string_view bytes) const
    {
        return {head_, shard_of(bytes), kind, bytes};
    }
    [[gnu::noinline]] Name operation(std::string_view record_key, std::string_view id) const
    {
        return {head_, shard_of(record_key), "op", record_key, id};
    }
    Name once(std::string_view counter, std::string_view id) const
    {
        return {head_, shard_of(counter), "once", counter, id};
    }
    Name counter(std::size_t shard) const { return {head_, shard, "counter"}; }
    /// One of the names that the log of a shard has: see `event_scripts.hpp`.
    Name of_log(std::size_t shard, std::string_view kind) const { return {head_, shard, kind}; }
    /// What all lock records of a shard begin with.
    std::string locks(std::size_t shard) const { return Name{head_, shard, "lock:"}.text(); }
    /// What all operation records of a shard begin with.
    std::string operations(std::size_t shard) const { return Name{head_, shard, "op:"}.text(); }

    std::size_t channel_count() const noexcept { return shards_ * channels_per_shard(); }
    [[gnu::noinline]] WakeName wake_name(std::string_view kind, std::string_view bytes) const noexcept
    {
        auto const shard = shard_of(bytes);
        auto const hash = Name{head_, shard, kind, bytes}.hash();
        return {hash, shard * channels_per_shard() + hash % channels_per_shard()};
    }
    /// Of the log of a shard.
    WakeName wake_name_of_log(std::size_t shard) const noexcept
    {
        auto const hash = Name{head_, shard, "log"}.hash();
        return {hash, shard * channels_per_shard() + hash % channels_per_shard()};
    }
    /// The name of the wake channel with this number. It is in the slot of its shard's keys, so that a script
    /// may publish on it; the script makes the name of a key and of `within_shard(number)`.
    std::string channel(std::size_t number) const
    {
        return Name{head_, number / channels_per_shard(), "wake:"}.text() +
               std::to_string(within_shard(number));
    }
    std::size_t within_shard(std::size_t channel) const noexcept { return channel % channels_per_shard(); }

private:
    std::size_t channels_per_shard() const noexcept
    {
        return shards_ < least_channels ? least_channels / shards_ : 1;
    }
    std::string head_;
    std::size_t shards_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_KEY_SPACE_HPP
