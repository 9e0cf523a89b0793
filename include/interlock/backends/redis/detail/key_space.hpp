// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_KEY_SPACE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_KEY_SPACE_HPP

// Physical names: `v1:{<name space>.<shard>}:<kind>:<length>:<bytes>`. The braces hold what Redis hashes, so all of a
// shard is in one slot; the length keeps names apart that consist of two parts.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// FNV-1a: the same on every machine and compiler, unlike std::hash. Part of the stored format where it chooses shards.
constexpr std::uint64_t stable_hash(std::string_view bytes, std::uint64_t hash = 14695981039346656037ULL) noexcept
{
    for (char c : bytes)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    return hash;
}

class KeySpace {
public:
    /// Wake channels of one name space: so many, or one for each shard where there are more, since each belongs to the slot
    /// of a shard.
    static constexpr std::size_t least_channels = 64;

    /// A physical name as those hear of it who wait: by its hash, on one of the channels.
    struct Heard {
        std::uint64_t hash;
        std::size_t channel;
    };

    KeySpace(std::string name_space, std::size_t shards) : name_space_(std::move(name_space)), shards_(shards) {}

    std::string const& name_space() const noexcept { return name_space_; }
    std::size_t shards() const noexcept { return shards_; }
    std::size_t shard_of(std::string_view bytes) const noexcept
    {
        return shards_ == 1 ? 0 : static_cast<std::size_t>(stable_hash(bytes) % shards_);
    }
    std::string name(std::string_view kind, std::string_view bytes) const { return name(kind, shard_of(bytes), bytes, {}); }
    std::string operation(std::string_view home, std::string_view id) const { return name("op", shard_of(home), home, id); }
    std::string once(std::string_view counter, std::string_view id) const
    {
        return name("once", shard_of(counter), counter, id);
    }
    std::string counter(std::size_t shard) const { return prefix(shard) + "counter"; }
    /// What all operation records of a shard begin with.
    std::string operations(std::size_t shard) const { return prefix(shard) + "op:"; }

    std::size_t channel_count() const noexcept { return shards_ * channels_per_shard(); }
    /// `physical` is in this shard.
    Heard heard(std::size_t shard, std::string_view physical) const noexcept
    {
        auto const hash = stable_hash(physical);
        return {hash, shard * channels_per_shard() + hash % channels_per_shard()};
    }
    /// The name of one of them; a script that publishes on it stays within the slot of its keys, and makes it of those and
    /// of the number within the shard.
    std::string channel(std::size_t number) const
    {
        return prefix(number / channels_per_shard()) + "wake:" + std::to_string(within_shard(number));
    }
    std::size_t within_shard(std::size_t channel) const noexcept { return channel % channels_per_shard(); }

private:
    std::size_t channels_per_shard() const noexcept { return shards_ < least_channels ? least_channels / shards_ : 1; }
    std::string prefix(std::size_t shard) const { return "v1:{" + name_space_ + "." + std::to_string(shard) + "}:"; }
    std::string name(std::string_view kind, std::size_t shard, std::string_view first, std::string_view second) const
    {
        std::string out;
        out.reserve(name_space_.size() + kind.size() + first.size() + second.size() + 32);
        out += "v1:{";
        out += name_space_;
        out += '.';
        out += std::to_string(shard);
        out += "}:";
        out += kind;
        out += ':';
        out += std::to_string(first.size());
        out += ':';
        out += first;
        out += second;
        return out;
    }

    std::string name_space_;
    std::size_t shards_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_KEY_SPACE_HPP
