// SPDX-License-Identifier: BSL-1.0

#include <interlock/interlock.hpp>
//
#include <interlock/fwd.hpp>
#include <interlock/version.hpp>

int fwd_last();

int fwd_last()
{
    return INTERLOCK_VERSION;
}
