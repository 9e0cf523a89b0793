// SPDX-License-Identifier: BSL-1.0

// dlock: flock(1) for machines. Runs a command while it holds locks in a store that everybody shares.
//
//     dlock --store redis://cache nightly-report -- /usr/local/bin/report

#include "locks.hpp"
#include "options.hpp"
#include "report.hpp"
#include "run.hpp"
#include "system.hpp"

#include <exception>

int main(int argc, char** argv)
{
    dlock::keep_standard_descriptors();
    auto const parsed = dlock::parse(argc, argv);
    if (parsed.end)
        return *parsed.end;
    auto const& options = parsed.options;
    try {
        switch (options.verb) {
        case dlock::Verb::run: return dlock::run(options);
        case dlock::Verb::status: return dlock::status(options);
        case dlock::Verb::break_lock: return dlock::break_locks(options);
        case dlock::Verb::wait: return dlock::wait_until_free(options);
        case dlock::Verb::setup: dlock::set_up(options.store); return 0;
        }
    } catch (dlock::Fault const& fault) {
        dlock::say(fault.text);
    } catch (std::exception const& error) {
        dlock::say(error.what());
    }
    return dlock::exit_fault;
}
