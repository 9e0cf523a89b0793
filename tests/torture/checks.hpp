// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_CHECKS_HPP
#define INTERLOCK_TESTS_TORTURE_CHECKS_HPP

/// @file
/// The laws, as far as the journals of the clients and what is stored at the end can tell.

#include "torture/history.hpp"
#include "torture/verdict.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace torture {

/// What a run must have come to before it says anything.
struct Demands {
    std::size_t effects{0};
    /// Of calls whose client was not told what became of them.
    std::size_t unknown{0};
};

/// A failover to a replica that has not seen the last writes breaks P2 and P3: handles of both servers are
/// valid, and who read a state from the old server may write it over the new one's, with effects that were
/// lost and made again. So may claims and operation records be lost apart from what they are about, which
/// voids P4. What is left: what is stored was asked for, tokens grow and are never given out twice, calls end
/// by their deadlines, and every id and key can be used again.
enum class Promises : unsigned char { all, after_a_lossy_failover };

void check(History const& history, Promises promises, Demands const& demands, Verdict& verdict);

/// Calls by kind and end, and what became of those that were not known.
void print_calls(History const& history);

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_CHECKS_HPP
