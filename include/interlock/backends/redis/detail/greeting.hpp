// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_GREETING_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_GREETING_HPP

// What the client says first on every connection, and what the server's answers mean.

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

/// AUTH, SELECT and CLIENT SETNAME, as far as the options ask for them, and INFO where somebody keeps track
/// of the server's life: all in one write. Through TLS there is at least a PING.
class Greeting {
public:
    [[gnu::cold]] explicit Greeting(Options const& options, Life* life = nullptr)
        : life_(life), database_(options.database)
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
        // With TLS 1.3 a server that refuses our certificate may say so only in place of its first reply.
        if (options.tls && replies_ == 0)
            say({"PING"});
    }
    Greeting(Greeting const&) = delete;
    Greeting& operator=(Greeting const&) = delete;
    ~Greeting() { forget(); }

    std::string_view bytes() const noexcept { return bytes_; }
    int replies() const noexcept { return replies_; }
    /// Overwrites the bytes, so that no second copy of the password stays in memory.
    void forget() noexcept { std::fill(bytes_.begin(), bytes_.end(), '\0'); }

    /// Why we are not let in, if the `i`-th reply (from 1) says that. The server's words about AUTH are not
    /// repeated, since they may quote the password.
    [[gnu::cold]] std::optional<Failure> refused(int i, ReplyView reply) const
    {
        if (i == who_)
            life_->heard(reply);
        if (!reply.is(ReplyType::error))
            return std::nullopt;
        auto const text = reply.text();
        auto const word = error_word(text);
        auto failure = map_error(text, Access::read);
        // What concerns the server, or the user's rights, and not the password or the number.
        bool const busy = failure.errc() == Errc::unavailable && (i == auth_ || i == select_ || i == who_);
        if (busy || word == "LOADING" || word == "MASTERDOWN" || word == "NOAUTH" || word == "WRONGPASS" ||
            word == "DENIED" || (word == "NOPERM" && i == select_) ||
            text.starts_with("ERR max number of clients"))
            return failure;
        if (i == auth_)
            return Failure{Errc::misconfigured, "redis: the server refuses the user name or the password"};
        if (i == select_)
            return Failure{
                Errc::misconfigured,
                "redis: the server refuses the database's number, " + std::to_string(database_)};
        return std::nullopt;  // CLIENT SETNAME, INFO or PING was refused, which does no harm
    }

private:
    [[gnu::cold]] int say(std::initializer_list<std::string_view> words)
    {
        bytes_ += Command(words).bytes();
        return ++replies_;
    }

    Life* life_;
    int database_;
    std::string bytes_;
    int replies_{0};  // that are due
    int who_{0};      // which of them answers INFO; 0: none does
    int auth_{0};     // which of them answers AUTH
    int select_{0};   // which of them answers SELECT
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_GREETING_HPP
