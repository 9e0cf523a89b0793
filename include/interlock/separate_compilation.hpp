// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_SEPARATE_COMPILATION_HPP
#define INTERLOCK_SEPARATE_COMPILATION_HPP

/// @file
/// A program of many units may compile the bodies of the library once instead of once per unit. It defines
/// INTERLOCK_SEPARATE_COMPILATION for all of its units and includes the bodies in exactly one:
///
/// @code
/// // interlock.cpp, built with -DINTERLOCK_SEPARATE_COMPILATION like every other unit of the program
/// #include <interlock/src.hpp>                 // core, policies, memory
/// #include <interlock/backends/redis/src.hpp>  // and each store that the program uses
/// @endcode
///
/// The CMake targets `interlock::<store>_compiled` do both. Without the definition the library is
/// header-only. A program whose units disagree about the definition does not link, or breaks the
/// one-definition rule.
///
/// For authors: a header declares a function whose body needs nothing of its caller, and the body stands in
/// `impl/<header>.ipp` beside the header (those of the headers of `core/` in `core/detail/impl/`), qualified
/// and marked INTERLOCK_DECL. The header includes that file at its end unless INTERLOCK_SEPARATE_COMPILATION
/// is defined. A `src.hpp` includes all of them.

/// Precedes the definition of a function that stands in an `impl/` folder: `inline` in the header-only form,
/// nothing where the program compiles the definition once.
#ifdef INTERLOCK_SEPARATE_COMPILATION
#define INTERLOCK_DECL
#else
#define INTERLOCK_DECL inline
#endif

#endif  // INTERLOCK_SEPARATE_COMPILATION_HPP
