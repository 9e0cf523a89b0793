// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TRANSACTION_SETTINGS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TRANSACTION_SETTINGS_HPP

/// @file
/// What each transaction of a repository's handle is told, and whose operation records a handle sees.
///
/// A session has `row_security = off`: a statement that a row-level policy would apply to fails, so that a
/// hidden row never passes for a missing one. Where a policy is found to apply to the table of a repository,
/// its transactions get `row_security = on`, together with the settings of the handle, and its records are
/// kept apart by what policies decide by.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/separate_compilation.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The settings of one handle of a repository.
class TransactionSettings {
public:
    /// `url`: the custom settings that every session of the pool begins with. Throws `Error`
    /// (`invalid_argument`) with the name of a setting that cannot be made.
    TransactionSettings(std::vector<Setting> settings, std::string url);

    /// The same with `more`; a setting in `more` takes the place of the one of its name.
    TransactionSettings with(std::vector<Setting> more) const;
    /// What a transaction gets; null: nothing. `policies`: whether row-level policies apply.
    SettingsStep const* step(bool policies) const noexcept;
    /// Whose rows `role` sees with these settings, as a text: equal for those who see the same.
    std::string scope(std::string_view role) const;

private:
    std::vector<Setting> settings_;
    std::string url_;
    std::optional<SettingsStep> plain_;
    SettingsStep with_policies_;
};

/// `row_security = on` alone, for the statements of an operation.
SettingsStep const& policies_apply();
/// That, and that the transaction changes nothing.
SettingsStep const& only_reads();

/// The custom settings in `options` of libpq (`-c app.tenant=ann`), each with a line of its own. All other
/// settings are left out, since no policy is meant by them.
std::string custom_settings(std::string_view options);

/// Asks for the role, and for the library's own tables of the name space `ns` that policies apply to.
void add_policies_query(Batch& batch, std::string const& ns);

/// The key of the operation records of `key` in `scope`. Two different pairs never have the same one.
std::string scoped_key(std::string_view key, std::string const& scope);
/// The key in what `scoped_key` made in `scope`; nothing when another scope made it.
std::optional<std::string> unscoped_key(std::string_view stored, std::string const& scope);
/// The key in what is stored, whatever scope it is of: for those who see all rows.
std::string any_key(std::string_view stored);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/transaction_settings.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TRANSACTION_SETTINGS_HPP
