// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONSUMER_COMPILED_UNITS_HPP
#define INTERLOCK_TESTS_CONSUMER_COMPILED_UNITS_HPP

#ifndef INTERLOCK_SEPARATE_COMPILATION
#error "whoever links a compiled target is compiled with the definition that says so"
#endif

// The unit of the first state: whether its calls came to what they must.
bool sell();
// The unit of the second state.
bool pay();

#endif  // INTERLOCK_TESTS_CONSUMER_COMPILED_UNITS_HPP
