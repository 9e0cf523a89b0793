// SPDX-License-Identifier: BSL-1.0

// check_habits <repository> <known violations> [--list]
//
// What a formatter does not see: the habits of this code that a reader counts on.
//
//   columns      no line has more than 110 characters, but for one that is a long word, as a URL is, and for
//                tables: rows of `|`, and what stands between `clang-format off` and `clang-format on`
//   function     no function has more than 70 lines; raw string literals (Lua, text) and tables are not
//                counted
//   class        no class has more than 400 lines from brace to brace; raw string literals and tables are not
//                counted
//   file         no file has more than 700 lines
//   comment      a comment on lines of its own begins with a capital letter, or with something that is not
//                English, a name for example, and ends with a full stop or what else ends a sentence
//   undocumented a public name of a public header has a comment: its own, or that of the declaration on the
//                line before, or it is a member that a concept asks for, and describes; data members are told
//                by their names
//   entries      core/ has at most 26 files and folders, so that it is taken in at a glance
//   words        the first page, README.md, has at most 1,800 words
//   prose        at least 30 % of the lines of all public headers together are comment; blank lines do not
//                count
//
// A public header is one of include/ outside of detail/ and impl/. Bodies that stand in a .ipp are C++ like
// any other.
//
// Each violation is named, `<file>:<line>: <rule>: <what>`. The file of known violations has lines `<rule>
// <file>`; what they name is not a violation, and one that is no longer needed is. `--list` prints what that
// file should be; `--figures` prints how far the whole is from its limits.

#include "habits/rules.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

bool is_source(fs::path const& path)
{
    auto const extension = path.extension();
    return extension == ".hpp" || extension == ".ipp" || extension == ".cpp";
}

bool is_script(fs::path const& path)
{
    auto const extension = path.extension();
    return extension == ".cmake" || extension == ".sh" || extension == ".py" ||
           path.filename() == "CMakeLists.txt" || path.filename() == "run";
}

/// Names relative to the repository, sorted.
std::vector<std::string> files_of(fs::path const& root)
{
    std::vector<std::string> files;
    for (auto const* const folder : {"include", "tests", "examples", "benchmarks", "cmake", ".ci"}) {
        if (!fs::exists(root / folder))
            continue;
        for (auto const& entry : fs::recursive_directory_iterator(root / folder))
            if (entry.is_regular_file() && (is_source(entry.path()) || is_script(entry.path())))
                files.push_back(entry.path().lexically_relative(root).generic_string());
    }
    if (fs::exists(root / "CMakeLists.txt"))
        files.emplace_back("CMakeLists.txt");
    std::sort(files.begin(), files.end());
    return files;
}

/// What the whole comes to.
struct Figures {
    std::size_t core_entries{0};
    std::size_t readme_words{0};
    std::size_t longest_file{0};
    habits::Prose prose;
};

Figures figures_of(fs::path const& root, std::vector<std::string> const& files)
{
    Figures figures;
    if (auto const core = root / "include/interlock/core"; fs::exists(core))
        figures.core_entries =
            static_cast<std::size_t>(std::distance(fs::directory_iterator(core), fs::directory_iterator{}));
    std::ifstream readme(root / "README.md");
    for (std::string word; readme >> word;)
        ++figures.readme_words;
    for (auto const& file : files) {
        auto const lines = habits::read_source((root / file).string());
        figures.longest_file = std::max(figures.longest_file, lines.size());
        if (habits::is_public(file))
            figures.prose.add(lines);
    }
    return figures;
}

void check_figures(Figures const& figures, std::vector<habits::Violation>& all)
{
    if (figures.core_entries > habits::max_core_entries)
        all.push_back(
            {"include/interlock/core", 1, "entries",
             "has " + std::to_string(figures.core_entries) + " entries"});
    if (figures.readme_words > habits::max_readme_words)
        all.push_back({"README.md", 1, "words", "has " + std::to_string(figures.readme_words) + " words"});
    habits::check_prose(figures.prose, all);
}

void print_figures(Figures const& figures)
{
    std::printf("entries of core/     %zu, at most %zu\n", figures.core_entries, habits::max_core_entries);
    std::printf("words of README.md   %zu, at most %zu\n", figures.readme_words, habits::max_readme_words);
    std::printf("longest file         %zu, at most %zu\n", figures.longest_file, habits::max_file_lines);
    std::printf(
        "prose of headers     %.1f %%, at least %zu\n",
        100.0 * static_cast<double>(figures.prose.comments) / static_cast<double>(figures.prose.lines),
        habits::min_prose_percent);
}

std::vector<habits::Violation> violations_of(fs::path const& root, std::vector<std::string> const& files)
{
    std::vector<habits::Violation> all;
    std::set<std::string> members;
    for (auto const& file : files)
        if (habits::is_public_header(file))
            habits::collect_members(habits::read_source((root / file).string()), members);
    for (auto const& file : files) {
        auto const lines = habits::read_source((root / file).string());
        habits::check_size(file, lines, all);
        habits::check_columns(file, lines, all);
        if (!is_source(file))
            continue;
        habits::check_functions(file, lines, all);
        habits::check_classes(file, lines, all);
        habits::check_comments(file, lines, all);
        if (habits::is_public_header(file))
            habits::check_names(file, lines, members, all);
    }
    check_figures(figures_of(root, files), all);
    return all;
}

/// Of our rules; others belong to other checks.
std::set<std::string> known_violations(std::string const& path)
{
    std::set<std::string> known;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);)
        for (auto const* const rule : habits::rules)
            if (line.starts_with(std::string(rule) + " "))
                known.insert(line);
    return known;
}

int run(fs::path const& root, std::string const& known_path, std::string const& option)
{
    auto const files = files_of(root);
    if (files.empty()) {
        std::fprintf(stderr, "there is no source under %s\n", root.c_str());
        return 2;
    }
    if (option == "--figures") {
        print_figures(figures_of(root, files));
        return 0;
    }
    auto const all = violations_of(root, files);
    std::set<std::string> found;
    for (auto const& violation : all)
        found.insert(violation.rule + " " + violation.file);
    if (option == "--list") {
        for (auto const& entry : found)
            std::printf("%s\n", entry.c_str());
        return 0;
    }
    auto const known = known_violations(known_path);
    int count = 0;
    for (auto const& violation : all)
        if (!known.contains(violation.rule + " " + violation.file)) {
            std::printf(
                "%s:%zu: %s: %s\n", violation.file.c_str(), violation.line, violation.rule.c_str(),
                violation.what.c_str());
            ++count;
        }
    for (auto const& entry : known)
        if (!found.contains(entry)) {
            std::printf("%s: no longer needed: %s\n", known_path.c_str(), entry.c_str());
            ++count;
        }
    std::printf("habits: %zu files, %d violations, %zu known ones\n", files.size(), count, known.size());
    return count == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc < 3 || argc > 4) {
        std::fprintf(stderr, "usage: check_habits <repository> <known violations> [--list | --figures]\n");
        return 2;
    }
    try {
        return run(argv[1], argv[2], argc == 4 ? argv[3] : "");
    } catch (std::exception const& e) {
        std::fprintf(stderr, "check_habits: %s\n", e.what());
        return 2;
    }
}
