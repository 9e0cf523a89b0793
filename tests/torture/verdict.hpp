// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_VERDICT_HPP
#define INTERLOCK_TESTS_TORTURE_VERDICT_HPP

/// @file
/// What was checked, and what was found wrong.

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace torture {

/// **Thread safety.** One thread at a time.
class Verdict {
public:
    /// One sentence that must be true. Shown with the first few of what contradicts it.
    class Law {
    public:
        Law(Verdict& verdict, std::string sentence) : verdict_(&verdict), index_(verdict.laws_.size())
        {
            verdict.laws_.push_back({std::move(sentence), 0, {}});
        }
        void broken(std::string how) const
        {
            auto& law = verdict_->laws_[index_];
            if (++law.violations <= shown)
                law.examples.push_back(std::move(how));
        }
        void expect(bool holds, std::string how) const
        {
            if (!holds)
                broken(std::move(how));
        }

    private:
        Verdict* verdict_;
        std::size_t index_;
    };

    Law law(std::string sentence) { return Law{*this, std::move(sentence)}; }

    /// The table, and last the line that others count by. True when nothing is broken.
    bool print() const
    {
        std::size_t failed = 0;
        fmt::print("\n");
        for (auto const& law : laws_) {
            fmt::print("{}  {}\n", law.violations == 0 ? "ok      " : "VIOLATED", law.sentence);
            for (auto const& example : law.examples)
                fmt::print("              {}\n", example);
            if (law.violations > shown)
                fmt::print("              and {} more\n", law.violations - shown);
            failed += law.violations != 0 ? 1 : 0;
        }
        fmt::print("{} passed, {} failed\n", laws_.size() - failed, failed);
        return failed == 0;
    }

private:
    static constexpr std::size_t shown = 10;
    struct Entry {
        std::string sentence;
        std::size_t violations;
        std::vector<std::string> examples;
    };
    std::vector<Entry> laws_;
};

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_VERDICT_HPP
