// SPDX-License-Identifier: BSL-1.0

// Linked with fwd_last.cpp: a function that is not `inline` is then defined twice.

#include <interlock/fwd.hpp>
//
#include <interlock/interlock.hpp>
#include <interlock/version.hpp>

int fwd_last();

int main()
{
    return fwd_last() - INTERLOCK_VERSION;
}
