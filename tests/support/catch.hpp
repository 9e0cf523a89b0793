// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_CATCH_HPP
#define INTERLOCK_TESTS_SUPPORT_CATCH_HPP

/// @file
/// Catch2, version 2 or 3, in the spelling of version 3. Tests include this and never Catch2 itself.

#if __has_include(<catch2/catch_test_macros.hpp>)

#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>

using Catch::Approx;

#else

#include <catch2/catch.hpp>

#include <cstddef>
#include <string>

namespace Catch::Matchers {

inline auto ContainsSubstring(std::string text, CaseSensitive::Choice cased = CaseSensitive::Yes)
{
    return Contains(text, cased);
}
/// `Contains("text")` would be `ContainsSubstring` here and a matcher of ranges in version 3.
template <std::size_t Size>
void Contains(char const (&)[Size]) = delete;

}  // namespace Catch::Matchers

namespace Catch {

/// Version 3 has them in `Catch::Matchers` alone.
template <class... Arguments>
void StartsWith(Arguments&&...) = delete;
template <class... Arguments>
void EndsWith(Arguments&&...) = delete;

}  // namespace Catch

#endif

#endif  // INTERLOCK_TESTS_SUPPORT_CATCH_HPP
