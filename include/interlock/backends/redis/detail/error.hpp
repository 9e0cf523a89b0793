// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_ERROR_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_ERROR_HPP

// What an error reply of the server means for the caller: the code, and whether the command may have had an
// effect.

#include <interlock/backends/redis/access.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// The first word of an error reply: "NOSCRIPT".
inline std::string_view error_word(std::string_view text) noexcept
{
    return text.substr(0, std::min(text.find(' '), text.find(':')));
}

/// The server's words as they may be shown: without the command's arguments, which may be anybody's data, and
/// without control characters.
[[gnu::cold]] inline std::string printable_error(std::string_view text)
{
    text = text.substr(0, text.find(", with args"));
    text = text.substr(0, text.find(" script: "));
    std::string out;
    for (char c : text.substr(0, 160))
        out += c >= ' ' && c <= '~' ? c : '?';
    return out;
}

/// A commit was not sent: the server that would carry it out is not the one that its versions were read from.
[[gnu::cold]] inline Failure another_life()
{
    return Failure{
        Errc::version_conflict, "redis: another server has taken over since these versions were read"};
}

inline constexpr std::string_view large_reply = "redis: the reply is beyond the configured limit";

inline constexpr std::string_view denial = "redis: the user may not do this: ";

/// Whether `failure` says that the user has no right to the command.
[[gnu::cold]] inline bool denied(Failure const& failure)
{
    return failure.errc() == Errc::misconfigured && failure.detail().starts_with(denial);
}

/// Whether a script called a command that the server does not have, or has under another name. Our scripts
/// ask for their rights, and so whether there is such a command, before the first write.
[[gnu::cold]] inline bool lacks_command(std::string_view text) noexcept
{
    return text.find("acl_check_cmd()") != std::string_view::npos ||
           (text.starts_with("ERR Unknown ") &&
            text.find("command called from script") != std::string_view::npos);
}

/// Whether `failure` says that the server knows the command under no such name.
[[gnu::cold]] inline bool has_no_such_command(Failure const& failure)
{
    return failure.errc() == Errc::misconfigured &&
           failure.detail().starts_with("redis: ERR unknown command");
}

/// The failure that an error reply means, see `map_error`.
[[gnu::cold]] inline Failure meaning_of_error(std::string_view text, Access access)
{
    auto const word = error_word(text);
    auto const is = [&](auto... words) { return ((word == words) || ...); };
    if (is("WRONGTYPE"))
        return Failure{
            Errc::corrupt_state,
            "redis: a name that belongs to this key, or to all keys of its shard, holds a "
            "value of another type"};
    if (is("CORRUPT"))  // a script of ours
        return Failure{
            Errc::corrupt_state,
            "redis: " + printable_error(text.substr(std::min(word.size() + 1, text.size())))};
    if (is("OOM"))
        return Failure{
            access == Access::record ? Errc::overloaded : Errc::unavailable,
            "redis: the server's memory limit is reached"};
    if (is("READONLY"))
        return Failure{Errc::unavailable, "redis: the server is a read-only replica"};
    if (is("LOADING"))
        return Failure{Errc::unavailable, "redis: the server is loading its data"};
    if (is("BUSY"))
        return Failure{Errc::unavailable, "redis: the server is busy running somebody's script"};
    if (is("MASTERDOWN"))
        return Failure{Errc::unavailable, "redis: the replica has lost its primary"};
    if (is("NOREPLICAS"))
        return Failure{Errc::unavailable, "redis: the server has not enough replicas to accept writes"};
    if (is("MISCONF"))
        return Failure{Errc::unavailable, "redis: the server cannot persist and refuses writes"};
    if (is("TRYAGAIN"))
        return Failure{Errc::unavailable, "redis: the server is moving these keys"};
    if (is("NOSCRIPT"))
        return Failure{Errc::unavailable, "redis: the server forgot a script"};
    if (is("EXECABORT"))
        return Failure{Errc::unavailable, "redis: the transaction was refused"};
    if (is("MOVED", "ASK", "CLUSTERDOWN", "CROSSSLOT"))
        return Failure{
            Errc::misconfigured, "redis: the server is part of a cluster (" + std::string(word) +
                                     "), which this backend does not support"};
    if (is("DENIED"))  // said to whoever connects, whatever is asked
        return Failure{
            Errc::misconfigured,
            "redis: the server is in protected mode: it has no password, and takes nobody from elsewhere"};
    if (is("NOAUTH"))
        return Failure{Errc::misconfigured, "redis: the server wants a password"};
    if (is("WRONGPASS"))
        return Failure{Errc::misconfigured, "redis: the server refuses the user name or the password"};
    // Our scripts ask for their rights before the first write. Within a script Redis 7.0 uses the first of
    // the longer texts, Redis 7.2 and later and Valkey the second.
    if (is("NOPERM") || text.starts_with("ERR The user executing the script") ||
        text.starts_with("ERR ACL failure in script"))
        return Failure{Errc::misconfigured, std::string(denial) + printable_error(text)};
    if (is("NOPROTO"))
        return Failure{Errc::misconfigured, "redis: the server does not know the protocol"};
    if (text.starts_with("ERR max number of clients"))
        return Failure{Errc::unavailable, "redis: the server has as many clients as it takes"};
    auto detail = "redis: " + printable_error(text);
    if (access == Access::read)
        return Failure{Errc::misconfigured, std::move(detail)};
    // An unknown command was not executed. Other errors that begin with ERR may come from the middle of a
    // script.
    if (text.starts_with("ERR unknown command"))
        return Failure{Errc::misconfigured, std::move(detail)};
    if (lacks_command(text))
        return Failure{
            Errc::misconfigured,
            "redis: a command that a script needs was disabled or renamed: " + printable_error(text)};
    return Failure::unknown(Errc::misconfigured, std::move(detail));
}

/// The failure that an error reply means. Errors that Redis gives before it executes a command, or before the
/// first write of a script, are "not applied". Any other error of a writing command is `outcome_unknown`: a
/// script is not undone when one of its commands fails.
[[gnu::cold]] inline Failure map_error(std::string_view text, Access access)
{
    // A user's script may raise anything, also a value: what is no word is not handed on.
    auto const word = error_word(text);
    bool const is_code = word.size() <= 24 &&
                         std::all_of(word.begin(), word.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    return meaning_of_error(text, access).with_store_code(is_code ? word : std::string_view{});
}

/// Whether a user's script may have written before it ended with this error, which `map_error` takes for
/// `code`. What concerns the server (memory, replica, disk) is refused before the first write; what concerns
/// the type of a value or a right may be refused at any command of the script.
[[gnu::cold]] inline bool raised_by_script(std::string_view text, Errc code) noexcept
{
    return code == Errc::corrupt_state ||
           (code == Errc::misconfigured &&
            (text.find(" script: ") != std::string_view::npos || lacks_command(text) ||
             text.find(" in script") != std::string_view::npos ||
             text.find("executing the script") != std::string_view::npos));
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_ERROR_HPP
