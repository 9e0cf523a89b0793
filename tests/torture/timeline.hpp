// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_TIMELINE_HPP
#define INTERLOCK_TESTS_TORTURE_TIMELINE_HPP

/// @file
/// A run as a picture: who held what when, what each call came to, and who was hurt meanwhile.

#include <interlock/observability/timeline.hpp>

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace torture {

namespace il = interlock;

/// What a client draws, written to a file while it is drawn: the client may be killed.
class TimelinePart {
public:
    /// `number`: of the client's row.
    TimelinePart(std::string const& path, std::string name, int number)
        : timeline_({.process = number, .process_name = std::move(name)}),
          file_(path, std::ios::binary | std::ios::app), thread_([this](std::stop_token const& end) {
              while (!end.stop_requested()) {
                  std::this_thread::sleep_for(std::chrono::milliseconds{50});
                  write();
              }
          })
    {}
    TimelinePart(TimelinePart const&) = delete;
    TimelinePart& operator=(TimelinePart const&) = delete;
    ~TimelinePart()
    {
        thread_.request_stop();
        thread_.join();
        write();
    }

    il::TimelineObserver& observer() noexcept { return timeline_; }

private:
    // Of each client; a viewer takes some hundred megabytes.
    static constexpr std::size_t most_bytes = 40'000'000;

    void write()
    {
        auto const more = timeline_.take();
        if ((written_ += more.size()) < most_bytes)
            file_ << more << std::flush;
    }

    il::TimelineObserver timeline_;
    std::ofstream file_;
    std::size_t written_{0};
    std::jthread thread_;  // goes first
};

/// The whole of it: the parts of all clients, and a row of the faults.
class Timeline {
public:
    /// Throws `std::invalid_argument` where nothing can be written. The parts are left in `folder` meanwhile.
    Timeline(std::string path, std::string const& folder) : path_(std::move(path)), prefix_(folder + "/part-")
    {
        if (!std::ofstream{path_})
            throw std::invalid_argument("--timeline: " + path_ + " cannot be written");
        faults_ = std::string(head) +
                  ",\"ph\":\"M\",\"name\":\"process_name\",\"args\":{\"name\":\"faults\"}},\n" +
                  std::string(head) +
                  ",\"ph\":\"M\",\"name\":\"process_sort_index\",\"args\":{\"sort_index\":-1}},\n";
    }

    std::string part(std::string const& client) const { return prefix_ + client; }

    /// Runs `strike`, and draws it.
    template <class F>
    auto draw(std::string const& fault, F strike)
    {
        auto const from = micros();
        struct Drawing {
            Timeline& timeline;
            std::string const& fault;
            double from;
            ~Drawing()
            {
                timeline.faults_ += fmt::format(
                    "{},\"ph\":\"X\",\"cat\":\"fault\",\"name\":\"{}\",\"ts\":{:.3f},\"dur\":{:.3f}}},\n",
                    head, fault, from, micros() - from);
            }
        } const drawing{*this, fault, from};
        return strike();
    }

    void write() const
    {
        std::vector<std::string> parts{faults_};
        for (auto const& file :
             std::filesystem::directory_iterator(std::filesystem::path(prefix_).parent_path()))
            if (file.path().string().starts_with(prefix_)) {
                std::ifstream part(file.path(), std::ios::binary);
                parts.emplace_back(std::istreambuf_iterator<char>(part), std::istreambuf_iterator<char>{});
            }
        std::ofstream{path_, std::ios::binary} << il::TimelineObserver::joined(parts);
    }

private:
    // A group of rows that no key has.
    static constexpr char const* head = "{\"pid\":0,\"tid\":0";
    static double micros()
    {
        return std::chrono::duration<double, std::micro>(il::SystemRuntime::now().time_since_epoch()).count();
    }

    std::string path_;
    std::string prefix_;
    std::string faults_;
};

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_TIMELINE_HPP
