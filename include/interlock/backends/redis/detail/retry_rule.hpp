// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_RETRY_RULE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_RETRY_RULE_HPP

// What may be sent again. A command whose reply is an error was not run if the error is one of those below,
// and a command of which no byte was written was not run either; every other command stays as it is, since to
// send it again could apply it twice. The rule for blocking calls (`ClientState`) and for those of the
// pipeline (`Resender`).

#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/core/backoff.hpp>
#include <interlock/core/deadline.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// The rule for one command, which remembers what was tried. A value: no I/O, no clock.
class RetryRule {
public:
    enum class Next : unsigned char {
        give_up,    ///< the error is the answer
        spell_out,  ///< the server does not have the script: send its text instead of its name
        elsewhere,  ///< the server is a replica: send the command over another connection
        later,      ///< the server is still loading its data: send the command again at `at`
    };
    struct Verdict {
        Next next{Next::give_up};
        TimePoint at{};  // for `later`
    };

    /// `calls_script`: the command calls a script by its name, and there is its text.
    explicit RetryRule(bool calls_script) noexcept : can_spell_out_(calls_script) {}

    /// After the error `text`, which the server answered. `random`: 64 random bits, for the pause.
    [[gnu::cold]] Verdict after_error(
        std::string_view text, TimePoint now, TimePoint deadline, std::uint64_t random)
    {
        auto const word = error_word(text);
        if (now >= deadline)
            return {};
        if (word == "NOSCRIPT" && std::exchange(can_spell_out_, false))
            return {Next::spell_out};
        if (word == "READONLY" && !std::exchange(moved_, true))
            return sent_again(text, {Next::elsewhere});
        if (word == "LOADING") {
            auto const at = interlock::detail::add(now, loading_backoff.delay(++loading_, random));
            if (at < deadline)
                return sent_again(text, {Next::later, at});
        }
        return {};
    }

    /// What the server refused the command for before it was sent again; `ok`: nothing.
    Failure const& refused() const noexcept { return refused_; }
    /// `failure`, with which the command ended. Where the deadline came before the server answered once more,
    /// the failure says what the server had said.
    Failure explained(Failure failure) const
    {
        if (failure.errc() != Errc::deadline_exceeded || failure.cause() != Errc::ok ||
            refused_.errc() == Errc::ok)
            return failure;
        return Failure::because(Errc::deadline_exceeded, refused_);
    }

    /// Whether a command of which nothing was written goes to another connection. `fresh`: the connection was
    /// made for it. If it was not, the server had ended it while nobody used it, which says nothing about the
    /// server now.
    static bool after_unsent(bool fresh) noexcept { return !fresh; }

private:
    /// Between questions to a server that is still loading its data.
    static constexpr Backoff loading_backoff{
        .initial = std::chrono::milliseconds{10}, .cap = std::chrono::milliseconds{250}, .immediate = 0};

    Verdict sent_again(std::string_view text, Verdict verdict)
    {
        refused_ = map_error(text, Access::read);  // nothing was done, so a write is no more in doubt
        return verdict;
    }

    bool can_spell_out_;  // once: a server that has the text has the script
    bool moved_{false};   // once: a second replica says that the address leads to replicas
    int loading_{0};      // answers of a server that was loading
    Failure refused_{Errc::ok};
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_RETRY_RULE_HPP
