// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_PIPELINE_REDIS_POSTGRES_CONTESTANTS_HPP
#define INTERLOCK_BENCHMARKS_PIPELINE_REDIS_POSTGRES_CONTESTANTS_HPP

// Events that are worked off once each, beside the job queues that somebody would otherwise take: BullMQ on
// Redis, pg-boss and graphile-worker on PostgreSQL, each as its manual advises for many jobs. Every
// contestant is a process of its own, whatever its language, and this is what is said:
//
//     it is started with       CONTESTANT ADDRESS RUN WORK COUNT
//     put                      16 callers put COUNT jobs of 200 bytes in
//                              prints figure <per second>
//     fill                     puts COUNT jobs in as fast as it can
//     work                     works off the COUNT jobs of this RUN, with an effect in the store for each
//                              prints figure <per second>
//     late                     puts COUNT jobs in, 100 a second, and handles them
//                              prints figure <ms>, the median time from the commit to the handler
//     worker                   handles jobs until it is killed
//                              prints done for each 50
//     effects                  prints effects <jobs that had one> <jobs that had more than one>
//     growth                   ours only: adds COUNT events, and puts in and works off 2000 more
//                              prints figure <us for each of the 2000>
//
// ADDRESS is the path of a unix socket of Redis, or a URL of PostgreSQL. Jobs and effects of one RUN are kept
// apart from those of another.

#include <string>

struct Plan {
    std::string address;
    std::string run;
    std::string work;
    long count{0};
};

void on_redis(Plan const& plan);
void on_postgres(Plan const& plan);

#endif  // INTERLOCK_BENCHMARKS_PIPELINE_REDIS_POSTGRES_CONTESTANTS_HPP
