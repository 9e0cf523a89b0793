// SPDX-License-Identifier: BSL-1.0

// Shows a store of one's own: a folder with one file per key, which knows the version of every value and
// nothing else.
// Needs: a folder to write in; it makes one among the temporary files.
// Run with: custom_backend

#include <interlock/core/kit/store_members.hpp>  // for authors of stores
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace il = interlock;

/// Models `VersionedRepository`, the smallest shape that a policy can work on: it carries out four verbs, and
/// `StoreMembers` makes of them the members that users call, with their asynchronous twins. Every verb
/// returns an `Outcome`, throws nothing, and has changed nothing when it failed. Copies are handles to one
/// folder; other processes must keep out of it.
template <class T>
class FileRepository : public il::StoreMembers<FileRepository<T>, T, typename il::StateTraits<T>::key_type> {
public:
    using value_type = T;
    using key_type = typename il::StateTraits<T>::key_type;
    using runtime_type = il::SystemRuntime;
    // Reading a file waits for the disk, so there are no `capabilities()` that say `answers_in_place`:
    // asynchronous calls run on a pool of threads.

    explicit FileRepository(std::filesystem::path where) : shared_(std::make_shared<Shared>(std::move(where)))
    {}

    il::SystemRuntime const& runtime() const noexcept { return shared_->runtime; }
    void const* identity() const noexcept { return shared_.get(); }

    il::Outcome<il::Versioned<T>> carry_out(il::verb::Load<T> const& load, il::Deadline) const
    {
        if (!load.key.valid())
            return load.key.validate().failure();
        std::lock_guard lock(shared_->mutex);
        auto const found = read(load.key);
        if (!found.value)
            return il::Errc::not_found;
        auto value = il::StateTraits<T>::decode(*found.value);
        if (!value)
            return il::Errc::corrupt_state;
        return il::Versioned<T>{*std::move(value), found.version};
    }
    il::Outcome<il::Version> carry_out(il::verb::Insert<T> const& insert, il::Deadline) const
    {
        if (!insert.key.valid())
            return insert.key.validate().failure();
        std::lock_guard lock(shared_->mutex);
        auto const found = read(insert.key);
        if (found.value)
            return il::Errc::already_exists;
        // Above every version that the key ever had.
        return write(insert.key, found.version + 1, &insert.value);
    }
    il::Outcome<il::Version> carry_out(il::verb::CompareAndSet<T> const& write, il::Deadline) const
    {
        return change(write.key, write.version, &write.value);
    }
    il::Outcome<il::Version> carry_out(il::verb::Erase const& erase, il::Deadline) const
    {
        return change(erase.key, erase.version, nullptr);
    }

private:
    struct Shared {
        explicit Shared(std::filesystem::path where) : folder(std::move(where)) {}
        std::mutex mutex;
        std::filesystem::path folder;
        il::SystemRuntime runtime;
    };
    struct File {
        il::Version version{il::no_version};
        std::optional<std::string> value;  // none: erased; the file keeps its version from being used again
    };

    // Keys are any bytes, file names are neither that nor long.
    std::filesystem::path path(il::Key const& key) const
    {
        auto where = shared_->folder;
        std::string name;
        for (char c : key.bytes()) {
            if (name.size() == 200)
                where /= std::exchange(name, {});
            name += fmt::format("{:02x}", static_cast<unsigned char>(c));
        }
        return where / (name + ".state");
    }

    File read(il::Key const& key) const
    {
        std::ifstream in(path(key), std::ios::binary);
        File file;
        bool erased = true;
        if (in >> file.version >> erased && in.get() == '\n' && !erased)
            file.value.emplace(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
        return file;
    }

    il::Outcome<il::Version> change(il::Key const& key, il::Version version, T const* value) const
    {
        if (!key.valid())
            return key.validate().failure();
        if (version <= il::no_version)
            return il::Failure{il::Errc::invalid_argument, "versions start at 1"};
        std::lock_guard lock(shared_->mutex);
        auto const found = read(key);
        if (!found.value)
            return il::Errc::not_found;
        if (found.version != version)
            return il::Errc::version_conflict;
        auto written = write(key, version + 1, value);
        if (written && value == nullptr)
            return version;
        return written;
    }

    /// A new file in the place of the old one: whoever reads sees one or the other, never a half.
    il::Outcome<il::Version> write(il::Key const& key, il::Version version, T const* value) const
    {
        std::string bytes = fmt::format("{} {}\n", version, value == nullptr ? 1 : 0);
        if (value != nullptr)
            il::StateTraits<T>::encode(*value, bytes);
        if (bytes.size() > std::size_t{1} << 20)
            return il::Failure{il::Errc::invalid_argument, "a value has at most 1 MiB"};
        std::error_code failed;
        std::filesystem::create_directories(path(key).parent_path(), failed);
        auto const fresh = shared_->folder / "fresh";
        std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
        if (out << bytes && out.flush())
            std::filesystem::rename(fresh, path(key), failed);
        if (!out || failed)
            return il::Failure{il::Errc::unavailable, "the folder cannot be written"};
        return version;
    }

    std::shared_ptr<Shared> shared_;
};

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

static_assert(il::VersionedRepository<FileRepository<Stock>>);
// It has no row locks, and says so: `il::TransactionService service{il::PessimisticRowLock{}, stock};` does
// not compile, and the note below the error names the missing verb, `load_for_update`.
static_assert(!il::PolicyFor<il::PessimisticRowLock, FileRepository<Stock>>);

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    auto const name = fmt::format("stock-{}", il::SystemRuntime::random_bits());
    auto const folder = std::filesystem::temp_directory_path() / name;
    std::filesystem::create_directory(folder);
    FileRepository<Stock> stock{folder};
    il::TransactionService service{il::OptimisticVersioning{}, stock};
    il::Key const key{std::string("sku-1")};
    check(stock.insert(key, {"sku-1", 400}).value() == 1);

    std::vector<std::future<void>> workers;
    for (int i = 0; i < 4; ++i)
        workers.push_back(std::async(std::launch::async, [&] {
            for (int n = 0; n < 50; ++n)
                service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
        }));
    for (auto& worker : workers)
        worker.get();

    auto const left = stock.load(key).value();
    fmt::print("{} left at version {}\n", left.value.quantity, left.version);
    check(left.value.quantity == 200 && left.version <= 201);  // some sales may have shared a write

    stock.erase(key, left.version).value();
    check(stock.load(key).errc() == il::Errc::not_found);
    check(stock.insert(key, {"sku-1", 1}).value() > left.version);
    std::filesystem::remove_all(folder);
}
