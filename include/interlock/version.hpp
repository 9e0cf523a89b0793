// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_VERSION_HPP
#define INTERLOCK_VERSION_HPP

/// @file
/// The one place that states the version. CMake reads it from here.
///
/// Decode `INTERLOCK_VERSION` as major * 10000 + minor * 100 + patch. Until 1.0 a new minor version may
/// change the interface; everything lives in the inline namespace `v0` so that two versions in one
/// program do not mix silently.

#define INTERLOCK_VERSION_MAJOR 0
#define INTERLOCK_VERSION_MINOR 2
#define INTERLOCK_VERSION_PATCH 0
#define INTERLOCK_VERSION \
    (INTERLOCK_VERSION_MAJOR * 10000 + INTERLOCK_VERSION_MINOR * 100 + INTERLOCK_VERSION_PATCH)

#endif  // INTERLOCK_VERSION_HPP
