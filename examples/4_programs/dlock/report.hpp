// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_DLOCK_REPORT_HPP
#define INTERLOCK_EXAMPLES_DLOCK_REPORT_HPP

/// @file
/// What `dlock status` prints, and the verbs for people.

#include "locks.hpp"
#include "options.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace dlock {

/// For a terminal: what would move the cursor, and bytes that are no UTF-8, are shown as question marks.
std::string visible(std::string_view text);
/// One sentence: who holds it, for how long.
std::string sentence_of(Seen const& seen);
/// `3m20s`, `250ms`, `2d4h`: two units at most.
std::string text_of(Duration time);
std::string table_of(std::vector<Seen> const& locks);
/// A JSON array; names that are no UTF-8 have U+FFFD in the places of their other bytes.
std::string json_of(std::vector<Seen> const& locks);

// Each returns the code that the program ends with.

int status(Options const& options);
int break_locks(Options const& options);
int wait_until_free(Options const& options);

}  // namespace dlock

#endif  // INTERLOCK_EXAMPLES_DLOCK_REPORT_HPP
