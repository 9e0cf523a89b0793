// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_NAME_SCAN_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_NAME_SCAN_HPP

/// @file
/// The names of all keys of one kind, page by page, read by scanning the database: for reports and audits.

#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/core/contracts/store.hpp>

#include <cstddef>
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

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_NAME_SCAN_HPP
