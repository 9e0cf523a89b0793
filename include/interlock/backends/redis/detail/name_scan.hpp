// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_NAME_SCAN_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_NAME_SCAN_HPP

/// @file
/// The names of all keys of one kind, page by page, read by scanning the database: for reports and audits.

#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/detail/number.hpp>
#include <interlock/core/contracts/store.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Each name once, although a scan may meet it more often.
template <class Runtime>
class NameScan {
public:
    /// `prefix`: what the names begin with. Nothing in it is special: name spaces and prefixes have no such
    /// characters.
    NameScan(ClientState<Runtime>& client, std::string_view prefix)
        : client_(client), pattern_(std::string(prefix) + "*")
    {}

    bool done() const noexcept { return begun_ && cursor_ == "0"; }

    /// The next of them; there may be none in a page.
    [[gnu::cold]] Outcome<std::vector<std::string>> next(Deadline until)
    {
        Command const scan{"SCAN", cursor_, "MATCH", pattern_, "COUNT", "1000"};
        auto page = client_.execute(scan, nullptr, Access::read, until);
        if (!page)
            return std::move(page).failure();
        std::vector<std::string> names;
        auto const found = page->reply()[1];
        for (std::size_t i = 0; i < found.size(); ++i)
            if (auto const name = found[i].text(); seen_.insert(std::string(name)).second)
                names.emplace_back(name);
        cursor_ = std::string(page->reply()[0].text());
        begun_ = true;
        return names;
    }

private:
    ClientState<Runtime>& client_;
    std::string pattern_;
    std::string cursor_{"0"};
    bool begun_{false};
    std::unordered_set<std::string> seen_;
};

/// Calls `show(names, prefix)` for all names of all shards of `keys`, at most `most` of one shard at a time.
/// `prefix_of(shard)`: what they begin with. Ends with the first failure.
template <class Runtime, class PrefixOf, class Show>
[[gnu::cold]] Outcome<void> show_names(
    ClientState<Runtime>& client, KeySpace const& keys, PrefixOf prefix_of, std::size_t most, Deadline until,
    Show show)
{
    for (std::size_t shard = 0; shard < keys.shards(); ++shard) {
        std::string const prefix{prefix_of(shard)};
        NameScan<Runtime> scan{client, prefix};
        while (!scan.done()) {
            auto const names = scan.next(until);
            if (!names)
                return names.failure();
            for (std::span<std::string const> rest{*names}; !rest.empty();) {
                auto const some = rest.first(std::min(rest.size(), most));
                rest = rest.subspan(some.size());
                if (auto shown = show(some, prefix.size()); !shown)
                    return shown;
            }
        }
    }
    return success();
}

/// A name of ours behind its prefix: the length of a key, a colon, the key, and what follows.
struct NamedKey {
    std::string_view key;
    std::string_view rest;
};
/// Nothing: the name is somebody else's.
[[gnu::cold]] inline std::optional<NamedKey> key_in_name(std::string_view name)
{
    auto const colon = name.find(':');
    std::size_t length = 0;
    if (colon == std::string_view::npos ||
        !parse_number<std::size_t>(name.substr(0, colon), 0, Key::max_size, length) ||
        name.size() < colon + 1 + length)
        return std::nullopt;
    return NamedKey{name.substr(colon + 1, length), name.substr(colon + 1 + length)};
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_NAME_SCAN_HPP
