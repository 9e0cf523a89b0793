// SPDX-License-Identifier: BSL-1.0

// What a store remembers of states that a newer release has written: a write is made over what was read, or
// the state is read again, however much there is to remember.

#include <interlock/core/kit/newer_states.hpp>

#include "support/catch.hpp"

#include <string>

namespace newer_states_test {

using namespace interlock;
using detail::NewerStates;

Key key(int i)
{
    return Key{"key-" + std::to_string(i)};
}

TEST_CASE("a store that never met a newer state remembers nothing", "[core][newer_states]")
{
    NewerStates states;
    states.note_read(key(1), 4, "old", false);
    CHECK_FALSE(states.any());
    CHECK(states.find(key(1), 4) == "");
}

TEST_CASE("a write is made over the version that was read, or not at all", "[core][newer_states]")
{
    NewerStates states;
    states.note_read(key(1), 4, "four", true);
    CHECK(states.any());
    CHECK(states.find(key(1), 4) == "four");
    CHECK_FALSE(states.find(key(1), 3));
    CHECK_FALSE(states.find(key(1), 5));
    CHECK(states.find(key(2), 5) == "");
    // Its own write is the next version.
    states.note_written(key(1), 4, "five");
    CHECK(states.find(key(1), 4) == "four");
    CHECK(states.find(key(1), 5) == "five");
    states.note_written(key(1), 5, "six");
    CHECK(states.find(key(1), 5) == "five");
    CHECK(states.find(key(1), 6) == "six");
    CHECK_FALSE(states.find(key(1), 4));
    // Somebody else's takes its place as soon as it is read, also with a smaller version.
    states.note_read(key(1), 2, "two", true);
    CHECK(states.find(key(1), 2) == "two");
    CHECK_FALSE(states.find(key(1), 6));
    states.note_read(key(1), 3, "three", false);
    CHECK(states.find(key(1), 3) == "");
}

TEST_CASE("of several writes over one version nobody knows which was applied", "[core][newer_states]")
{
    NewerStates states;
    states.note_read(key(1), 4, "four", true);
    states.note_written(key(1), 4, "five");
    states.note_written(key(1), 4, "five");  // sent again
    CHECK(states.find(key(1), 5) == "five");
    states.note_written(key(1), 4, "refused");
    CHECK(states.find(key(1), 4) == "four");
    CHECK_FALSE(states.find(key(1), 5));
    states.note_written(key(1), 4, "five");
    CHECK_FALSE(states.find(key(1), 5));
    states.note_read(key(1), 5, "read", true);
    CHECK(states.find(key(1), 5) == "read");
    states.note_written(key(1), 5, "six");
    CHECK(states.find(key(1), 6) == "six");
}

TEST_CASE("what was forgotten must be read again, and can then be written", "[core][newer_states]")
{
    NewerStates states{10'000};
    for (int i = 0; i < 1000; ++i)
        states.note_read(key(i), 1, "something newer", true);
    CHECK(states.find(key(999), 1) == "something newer");
    CHECK_FALSE(states.find(key(0), 1));
    CHECK_FALSE(states.find(key(2000), 1));  // nobody knows whether that was forgotten
    states.note_read(key(0), 1, "something newer", true);
    CHECK(states.find(key(0), 1) == "something newer");
    states.note_read(key(2000), 1, "nothing newer", false);
    CHECK(states.find(key(2000), 1) == "");
}

}  // namespace newer_states_test
