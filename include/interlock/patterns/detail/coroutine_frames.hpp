// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_COROUTINE_FRAMES_HPP
#define INTERLOCK_PATTERNS_DETAIL_COROUTINE_FRAMES_HPP

/// @file
/// Stands around coroutines that keep what their caller gave them, which may be of a local type. Where the
/// caller's file is included by another one, as in a unity build, g++ takes such a frame for a type of a
/// header, and warns that its members have no linkage. No frame leaves its unit.

#if defined(__GNUC__) && !defined(__clang__)
#define INTERLOCK_COROUTINES_BEGIN \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wsubobject-linkage\"")
#define INTERLOCK_COROUTINES_END _Pragma("GCC diagnostic pop")
#else
#define INTERLOCK_COROUTINES_BEGIN
#define INTERLOCK_COROUTINES_END
#endif

#endif  // INTERLOCK_PATTERNS_DETAIL_COROUTINE_FRAMES_HPP
