# SPDX-License-Identifier: BSL-1.0
"""Takes the steps of a Conan recipe without Conan: replay_conan.py RECIPE FOLDER

The recipe's own methods are called in the order in which Conan 2 calls them, with all its options on; what
it imports from Conan is replaced by the few functions that it uses, as Conan's manual describes them. Prints
what the package provides, a line for each component: its name, and what it requires.
"""

import fnmatch
import importlib.util
import os
import re
import shutil
import sys
import types


class Options(dict):
    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__
    get_safe = dict.get


class Component:
    def __init__(self):
        self.properties = {}
        self.requires = []
        self.system_libs = []
        self.includedirs = ["include"]

    def set_property(self, name, value):
        self.properties[name] = value


class CppInfo(Component):
    class Components(dict):
        def __missing__(self, name):
            self[name] = Component()
            return self[name]

    def __init__(self):
        super().__init__()
        self.components = self.Components()


class Info:
    def __init__(self):
        self.cleared = False

    def clear(self):
        self.cleared = True


class ConanFile:
    pass


def copy(recipe, pattern, src, dst):
    """Patterns are matched against paths below src, as Conan's copy does; * matches slashes, too."""
    for folder, _, files in os.walk(src):
        for file in files:
            path = os.path.relpath(os.path.join(folder, file), src)
            if fnmatch.fnmatch(path, pattern):
                to = os.path.join(dst, path)
                os.makedirs(os.path.dirname(to), exist_ok=True)
                shutil.copy2(os.path.join(src, path), to)


def load(recipe, path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made


def main():
    recipe_path, work = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    module("conan", ConanFile=ConanFile)
    module("conan.tools")
    module("conan.tools.build", check_min_cppstd=lambda recipe, least: recipe.checked.append(least))
    module("conan.tools.files", copy=copy, load=load)
    spec = importlib.util.spec_from_file_location("conanfile", recipe_path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    kind = next(
        value for value in vars(loaded).values()
        if isinstance(value, type) and issubclass(value, ConanFile) and value is not ConanFile)

    assert all(values == [True, False] for values in kind.options.values())
    assert set(kind.default_options) == set(kind.options)
    recipe = kind()
    recipe.options = Options({name: True for name in kind.options})
    recipe.required, recipe.checked, recipe.info, recipe.cpp_info = [], [], Info(), CppInfo()
    recipe.requires = lambda name, **traits: recipe.required.append(name.split("/")[0])
    recipe.recipe_folder = os.path.dirname(recipe_path)
    recipe.export_folder = os.path.join(work, "exported")
    recipe.export_sources_folder = recipe.source_folder = os.path.join(work, "source")
    recipe.package_folder = os.path.join(work, "package")
    for step in "set_version export export_sources".split():
        getattr(recipe, step)()
    # From now on the recipe is in Conan's cache, and the checkout is away.
    recipe.recipe_folder = recipe.export_folder
    for step in "configure requirements validate package_id package".split():
        getattr(recipe, step)()
    # Nothing is left in the cache that a package is used from but the package.
    shutil.rmtree(recipe.source_folder)
    recipe.package_info()

    assert re.fullmatch(r"\d+\.\d+\.\d+", recipe.version), recipe.version
    assert recipe.checked == [20] and recipe.info.cleared and kind.package_type == "header-library"
    assert os.path.isfile(os.path.join(recipe.package_folder, "licenses", "LICENSE"))
    known = set(recipe.required) | set(recipe.cpp_info.components)
    for name, component in recipe.cpp_info.components.items():
        assert component.properties["cmake_target_name"] == "interlock::" + name
        for requirement in component.requires:
            assert requirement.split("::")[0] in known, f"{name} needs {requirement}, which is not required"
        print(f"component {name}: {' '.join(component.requires)}")
    print(f"options {' '.join(sorted(kind.options))}")


main()
