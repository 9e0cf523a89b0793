# SPDX-License-Identifier: BSL-1.0

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load

# What the components need, by the names of cmake/components: the package, and what of it is linked.
PACKAGES = {
    "boost": ("boost/[>=1.81.0]", "boost::headers"),
    "fmt": ("fmt/[>=9]", "fmt::fmt"),
    "hiredis": ("hiredis/[>=0.14]", "hiredis::hiredis"),
    "libpq": ("libpq/[>=10]", "libpq::libpq"),
    "libpqxx": ("libpqxx/[>=6.4]", "libpqxx::libpqxx"),
    "opentelemetry_cpp": ("opentelemetry-cpp/[>=1.16]", "opentelemetry-cpp::opentelemetry_common"),
    "openssl": ("openssl/[>=1.1.1]", "openssl::openssl"),
    "prometheus_cpp": ("prometheus-cpp/[>=1.0]", "prometheus-cpp::prometheus-cpp-core"),
}


class InterlockConan(ConanFile):
    name = "interlock"
    description = "Concurrency control for shared state: threads, processes, machines"
    license = "BSL-1.0"
    topics = ("concurrency", "locks", "transactions", "idempotency", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    # Each component that needs more than the core does. The others are always there.
    options = {
        "opentelemetry": [True, False],
        "postgres": [True, False],
        "prometheus": [True, False],
        "redis": [True, False],
        "redis_tls": [True, False],
    }
    default_options = {
        "opentelemetry": False,
        "postgres": False,
        "prometheus": False,
        "redis": False,
        "redis_tls": False,
    }
    no_copy_source = True

    @property
    def _checkout(self):
        return os.path.join(self.recipe_folder, "..", "..", "..")

    def set_version(self):
        text = load(self, os.path.join(self._checkout, "include", "interlock", "version.hpp"))
        parts = ("MAJOR", "MINOR", "PATCH")
        self.version = ".".join(
            re.search(rf"INTERLOCK_VERSION_{part} (\d+)", text).group(1) for part in parts)

    def export(self):
        copy(self, "*.cmake", src=os.path.join(self._checkout, "cmake", "components"),
             dst=os.path.join(self.export_folder, "components"))

    def export_sources(self):
        for pattern in ("LICENSE", "include/*", "cmake/components/*.cmake"):
            copy(self, pattern, src=self._checkout, dst=self.export_sources_folder)

    def configure(self):
        if self.options.redis_tls:
            self.options.redis = True

    def requirements(self):
        components = self._components(os.path.join(self.recipe_folder, "components"))
        for package in sorted({need for _, _, needs in components for need in needs}):
            self.requires(PACKAGES[package][0], transitive_headers=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def package_id(self):
        self.info.clear()  # the same headers for every compiler, system and option

    def package(self):
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        for pattern in ("*.hpp", "*.ipp"):
            copy(self, pattern, src=os.path.join(self.source_folder, "include"),
                 dst=os.path.join(self.package_folder, "include"))
        copy(self, "*.cmake", src=os.path.join(self.source_folder, "cmake", "components"),
             dst=os.path.join(self.package_folder, "res", "components"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "interlock")
        folder = os.path.join(self.package_folder, "res", "components")
        for name, foundations, needs in self._components(folder):
            component = self.cpp_info.components[name]
            component.set_property("cmake_target_name", f"interlock::{name}")
            component.set_property(
                "pkg_config_name", "interlock" if name == "core" else f"interlock-{name.replace('_', '-')}")
            component.requires = foundations + [PACKAGES[need][1] for need in needs]
            component.bindirs = []
            component.libdirs = []
        self.cpp_info.components["core"].system_libs = ["pthread"]

    def _components(self, folder):
        """Those that are wanted: name, what they are built on, and which packages they need."""
        for file in sorted(os.listdir(folder)):
            name = file[: -len(".cmake")]
            text = load(self, os.path.join(folder, file))

            def words(variable):
                found = re.search(rf"set\(component_{variable} ([^)]*)\)", text)
                return found.group(1).split() if found else []

            if self.options.get_safe(name, True):
                yield name, words("built_on"), [need for need in words("needs") if need != "threads"]
