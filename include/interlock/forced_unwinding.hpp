// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_FORCED_UNWINDING_HPP
#define INTERLOCK_FORCED_UNWINDING_HPP

/// @file
/// Exceptions that nobody may keep. A thread that is cancelled (`pthread_cancel`) and a stackful coroutine
/// that is destroyed while it is suspended are unwound by an exception of the platform's. A `catch (...)`
/// that ends such an exception ends the process, or lets a coroutine go on that is gone.
///
///     try {
///         operation();
///     }
///     INTERLOCK_PASS_FORCED_UNWINDING
///     catch (...) {
///         thrown = std::current_exception();
///     }
///
/// Every `catch (...)` under which code of a user's runs stands behind this macro. What the library has begun
/// is then given back by destructors.

#include <cstddef>

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif
#if __has_include(<boost/context/detail/exception.hpp>)
#include <boost/context/detail/exception.hpp>
#endif

#ifdef __GLIBCXX__
#define INTERLOCK_PASS_CANCELLED_THREAD \
    catch (abi::__forced_unwind&)       \
    {                                   \
        throw;                          \
    }
#else
#define INTERLOCK_PASS_CANCELLED_THREAD
#endif
#if __has_include(<boost/context/detail/exception.hpp>)
#define INTERLOCK_PASS_FORCED_UNWINDING                  \
    INTERLOCK_PASS_CANCELLED_THREAD                      \
    catch (boost::context::detail::forced_unwind const&) \
    {                                                    \
        throw;                                           \
    }
#else
#define INTERLOCK_PASS_FORCED_UNWINDING INTERLOCK_PASS_CANCELLED_THREAD
#endif

#endif  // INTERLOCK_FORCED_UNWINDING_HPP
