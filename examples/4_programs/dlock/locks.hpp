// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_DLOCK_LOCKS_HPP
#define INTERLOCK_EXAMPLES_DLOCK_LOCKS_HPP

/// @file
/// What dlock asks of the library. All that needs to know of stores and of states is behind these few
/// functions, so that the rest of the program compiles in no time.

#include <interlock/core/contracts/lock_info.hpp>

#include "options.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace dlock {

/// Why dlock cannot go on, in words.
struct Fault {
    std::string text;
};

/// One lock as people see it. No `info`: nobody holds it.
struct Seen {
    std::string name;
    std::optional<interlock::LockInfo> info;
};

/// What breaking a lock came to.
enum class Broken : unsigned char { yes, nobody_held_it, changed_meanwhile };

/// The store of a URL, and the locks on it that this process holds.
class Locks {
public:
    /// Throws `Fault` for a URL that no store of this program understands.
    Locks(std::string const& url, Duration ttl);
    Locks(Locks const&) = delete;
    Locks& operator=(Locks const&) = delete;
    ~Locks();

    enum class Taken : unsigned char { yes, busy, stopped };
    /// Takes all `names`, one after the other, in their order: everybody who does so waits for nobody who
    /// waits for him. `wait`: how long, for all of them together; nothing: for ever. `busy(name)` is called
    /// once for each lock that somebody else holds. Holds all of them afterwards, or none.
    ///
    /// Throws `Fault` when the store does not answer at the beginning. While it waits, dlock outlasts a store
    /// that is away or overloaded for a while; an answer that waiting does not change (the password is
    /// another one now, a record is damaged) is a `Fault`, too.
    Taken take(
        std::vector<std::string> const& names, std::optional<Duration> wait, std::stop_token const& stop,
        std::function<void(std::string const&)> const& busy);

    /// Of each lock, in the order of the names.
    std::vector<std::string> tokens() const;
    /// For how much longer all of them are sure, by this process's clock.
    Duration remaining() const;
    /// Why one of them is lost, by now; nothing: none is.
    std::optional<std::string> lost() const;
    /// Calls `then` from another thread when one of them is lost, once for each at most, until they are given
    /// back.
    void when_lost(std::function<void()> const& then);
    /// What giving the locks back came to. Nothing in it: they were ours until then, and are free.
    struct GivenBack {
        std::optional<std::string> lost;       ///< one of them was not ours any more
        std::optional<std::string> objection;  ///< what else the store says against it
    };
    /// Gives all of them back.
    GivenBack give_back();

    // ---- for people; each throws `Fault` where the store does not answer -------------------------

    /// Who holds each of `names`, or everything that is held where there are none.
    std::vector<Seen> look(std::vector<std::string> const& names) const;
    Broken end(Seen const& seen) const;

private:
    struct Held;
    std::unique_ptr<Held> held_;
};

/// Makes the tables of a store that has tables. Throws `Fault`.
void set_up(std::string const& url);

}  // namespace dlock

#endif  // INTERLOCK_EXAMPLES_DLOCK_LOCKS_HPP
