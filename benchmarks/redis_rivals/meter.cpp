// SPDX-License-Identifier: BSL-1.0

#include "contestants.hpp"

#include <sys/resource.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <thread>

Meter::Meter(std::size_t waiters, double seconds, bool with_waits)
    : seconds_(seconds), with_waits_(with_waits), counts_(waiters),
      bins_(static_cast<std::size_t>(std::ceil(seconds * 10))), asked_(waiters), waits_(64 * 16)
{}

void Meter::start_now()
{
    begin_at(clock::now());
}

void Meter::start_when_told()
{
    std::printf("ready\n");
    std::fflush(stdout);
    std::string word;
    double at = 0;
    if (!(std::cin >> word >> at))
        throw std::runtime_error("not told when to begin");
    auto const begin =
        std::chrono::duration<double>(at) - std::chrono::system_clock::now().time_since_epoch();
    begin_at(clock::now() + std::chrono::duration_cast<clock::duration>(begin));
}

void Meter::begin_at(clock::time_point begin)
{
    std::this_thread::sleep_until(begin);
    begin_ = begin;
    end_ = begin + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds_));
    asked_.assign(asked_.size(), begin);
    cpu_ = cpu_seconds();
}

void Meter::print() const
{
    long sum = 0;
    for (auto const count : counts_)
        sum += count;
    std::printf("sections %.6g\nwaiters", static_cast<double>(sum) / seconds_);
    for (auto const count : counts_)
        std::printf(" %ld", count);
    std::printf("\nbins");
    for (auto const bin : bins_)
        std::printf(" %ld", bin);
    std::printf("\n");
    for (std::size_t i = 0; i < waits_.size(); ++i)
        if (waits_[i] != 0)
            std::printf("wait %.6g %ld\n", seconds_of(i), waits_[i]);
    std::printf("cpu %.6g\n", cpu_seconds() - cpu_);
    std::fflush(stdout);
}

double Meter::cpu_seconds()
{
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    auto const seconds = [](timeval const& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::size_t Meter::class_of(clock::duration wait) noexcept
{
    auto const ns = static_cast<std::uint64_t>(std::chrono::nanoseconds{wait}.count());
    auto const power = static_cast<std::size_t>(std::bit_width(ns | 16)) - 1;
    return power * 16 + ((ns | 16) >> (power - 4) & 15);
}

double Meter::seconds_of(std::size_t wait_class) noexcept
{
    return std::ldexp(
               1 + (static_cast<double>(wait_class % 16) + 0.5) / 16, static_cast<int>(wait_class / 16)) /
           1e9;
}
