// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_GREETING_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_GREETING_HPP

// What every connection says first, whoever drives it.

#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/life.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// AUTH, SELECT and CLIENT SETNAME, as far as the options ask for them, and who the server is where that is
/// of interest, in one write; through TLS at least something.
class Greeting {
public:
    explicit Greeting(Options const& options, Life* life = nullptr) : life_(life)
    {
        if (!options.user.empty())
            auth_ = say({"AUTH", options.user, options.password});
        else if (!options.password.empty())
            auth_ = say({"AUTH", options.password});
        if (options.database != 0)
            select_ = say({"SELECT", std::to_string(options.database)});
        if (!options.client_name.empty())
            say({"CLIENT", "SETNAME", options.client_name});
        if (life != nullptr) {
            bytes_ += Life::question().bytes();
            who_ = ++replies_;
        }
        // A server that refuses our certificate may say so only in place of its first reply (TLS 1.3).
        if (options.tls && replies_ == 0)
            say({"PING"});
    }
    Greeting(Greeting const&) = delete;
    Greeting& operator=(Greeting const&) = delete;
    ~Greeting() { forget(); }

    std::string_view bytes() const noexcept { return bytes_; }
    int replies() const noexcept { return replies_; }
    /// No second copy of the password stays behind.
    void forget() noexcept { std::fill(bytes_.begin(), bytes_.end(), '\0'); }

    /// What the `i`-th reply, from 1, means; nothing when we are let in, or when it does not matter. The
    /// server's words about AUTH are not repeated.
    std::optional<Failure> refused(int i, ReplyView reply) const
    {
        if (i == who_)
            life_->heard(reply);
        if (!reply.is(ReplyType::error))
            return std::nullopt;
        auto const text = reply.text();
        auto const word = error_word(text);
        if (word == "LOADING" || word == "MASTERDOWN" || word == "NOAUTH" || word == "WRONGPASS" ||
            text.starts_with("ERR max number of clients"))
            return map_error(text, Access::read);
        if (i == auth_)
            return Failure{Errc::misconfigured, "redis: the server refuses the user name or the password"};
        if (i == select_)
            return Failure{Errc::misconfigured, "redis: the server refuses the database's number"};
        return std::nullopt;  // CLIENT SETNAME, INFO, PING: an older server, or one that does not let us
    }

private:
    int say(std::initializer_list<std::string_view> words)
    {
        bytes_ += Command(words).bytes();
        return ++replies_;
    }

    Life* life_;
    std::string bytes_;
    int who_{0};
    int replies_{0};
    int auth_{0};
    int select_{0};
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_GREETING_HPP
