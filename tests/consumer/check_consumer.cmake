# cmake -D SETTINGS=<settings.cmake> -D CASE=<case> [-D NOT_LOOKED_FOR=... -D AVAILABLE=... -D PYTHON=...]
#     -P check_consumer.cmake
#
# Configures, builds and runs the consumer projects as a user would, with nothing handed on from our build
# but generator, compiler and compiler launcher. SETTINGS sets interlock_build, work, generator,
# make_program, compiler, launcher.

cmake_minimum_required(VERSION 3.23)
include("${SETTINGS}")

set(components "${CMAKE_CURRENT_LIST_DIR}/../../cmake/components")
set(prefix "${work}/prefix")
set(clone "${work}/clone")
set(build "${work}/${CASE}")
file(REMOVE_RECURSE "${build}")

# run(<command>...): must succeed. Sets output.
function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT code EQUAL 0)
        list(JOIN ARGN " " command)
        message(FATAL_ERROR "failed (${code}): ${command}\n${output}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

function(configure_command project)
    set(command ${CMAKE_COMMAND} -S "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${project}" -B "${build}"
        -G "${generator}" "-DCMAKE_MAKE_PROGRAM=${make_program}" "-DCMAKE_CXX_COMPILER=${compiler}"
        "-DCMAKE_CXX_COMPILER_LAUNCHER=${launcher}" ${ARGN})
    if(project STREQUAL "find_package")
        list(APPEND command "-DCMAKE_PREFIX_PATH=${prefix}")
    endif()
    set(command "${command}" PARENT_SCOPE)
endfunction()

# accepted(<project> <argument>...): configures, builds and runs.
function(accepted project)
    configured(${project} ${ARGN})
    run(${CMAKE_COMMAND} --build "${build}")
    says_version("${build}/consumer")
endfunction()

# configured(<project> <argument>...): only that.
function(configured project)
    configure_command(${project} ${ARGN})
    run(${command})
    # From 3.28 on CMake looks for modules in C++20, by a tool that is not everywhere where clang is. A unit
    # that is looked at has a .ddi file, also one that tries what the compiler can do.
    foreach(file IN ITEMS build.ninja CMakeFiles/CMakeConfigureLog.yaml)
        if(EXISTS "${build}/${file}")
            file(STRINGS "${build}/${file}" scans REGEX "\\.ddi")
            if(scans)
                list(GET scans 0 scan)
                message(FATAL_ERROR "there are no modules, and some are looked for: ${scan}")
            endif()
        endif()
    endforeach()
endfunction()

# says_version(<program>): runs a consumer.
function(says_version program)
    run("${program}")
    if(NOT output MATCHES "^interlock [0-9]+\\.[0-9]+\\.[0-9]+\n$")
        message(FATAL_ERROR "the consumer ran, but said: ${output}")
    endif()
endfunction()

# compiled(<source> <flag>...): as somebody who has no build system.
function(compiled source)
    file(MAKE_DIRECTORY "${build}")
    run(${launcher} "${compiler}" -std=c++20 -c "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${source}"
        -o "${build}/consumer.o" ${ARGN})
    run("${compiler}" "${build}/consumer.o" -o "${build}/consumer" ${ARGN})
    says_version("${build}/consumer")
endfunction()

# without(<need> <result>): what keeps find_dependencies from finding it.
function(without need result)
    if(DEFINED ${need}_pkg_config)
        set(arguments -DCMAKE_DISABLE_FIND_PACKAGE_${${need}_pkg_config}=ON
            -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON)
    else()
        list(GET ${need}_package 0 package)
        set(arguments -DCMAKE_DISABLE_FIND_PACKAGE_${package}=ON)
    endif()
    set(${result} ${arguments} PARENT_SCOPE)
endfunction()

# switch_of(<component> <result>)
function(switch_of component result)
    string(TOUPPER INTERLOCK_${component} switch)
    set(${result} ${switch} PARENT_SCOPE)
endfunction()

# components_with_needs(<result>): those that need more than the core does, sorted. Recipes let their users
# choose them.
function(components_with_needs result)
    file(GLOB files "${components}/*.cmake")
    set(names "")
    foreach(file IN LISTS files)
        set(component_needs "")
        include("${file}")
        cmake_path(GET file STEM name)
        if(component_needs AND NOT name STREQUAL "core")
            list(APPEND names ${name})
        endif()
    endforeach()
    list(SORT names)
    set(${result} "${names}" PARENT_SCOPE)
endfunction()

# links(<YES or NO> <library>): whether the built consumer does.
function(links expected library)
    find_program(readelf readelf REQUIRED)
    run(${readelf} -d "${build}/consumer")
    set(is NO)
    if(output MATCHES "NEEDED[^\n]*${library}")
        set(is YES)
    endif()
    if(NOT is STREQUAL expected)
        message(FATAL_ERROR
            "is the consumer linked with ${library}? ${is}, and it should be: ${expected}\n${output}")
    endif()
endfunction()

# refused(<project> <expected text> <argument>...): must not configure, and must say why.
function(refused project text)
    configure_command(${project} ${ARGN})
    execute_process(COMMAND ${command} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(code EQUAL 0)
        message(FATAL_ERROR "must be refused, but was accepted:\n${output}")
    endif()
    string(REGEX REPLACE "[ \n]+" " " one_line "${output}")
    string(FIND "${one_line}" "${text}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "was refused, but without saying\n  ${text}\nOutput:\n${output}")
    endif()
endfunction()

if(CASE STREQUAL "install")
    # Installed in one place and moved to another: a package must not remember where it was.
    file(REMOVE_RECURSE "${prefix}" "${prefix}-first")
    run(${CMAKE_COMMAND} --install "${interlock_build}" --prefix "${prefix}-first")
    file(RENAME "${prefix}-first" "${prefix}")
    file(GLOB_RECURSE files RELATIVE "${prefix}" "${prefix}/*")
    foreach(file IN LISTS files)
        if(NOT file MATCHES
            "^include/interlock/.+\\.[hi]pp$|/cmake/interlock/(components/)?[^/]+\\.cmake$|/LICENSE$"
           AND NOT file MATCHES "/pkgconfig/interlock[a-z0-9-]*\\.pc$")
            message(FATAL_ERROR "this should not be installed: ${file}")
        endif()
    endforeach()

elseif(CASE STREQUAL "add_subdirectory")
    accepted(add_subdirectory)
    run(${CMAKE_COMMAND} --install "${build}" --prefix "${build}/installed")
    file(GLOB_RECURSE files "${build}/installed/*")
    if(files)
        message(FATAL_ERROR "the parent's install step now installs interlock: ${files}")
    endif()
elseif(CASE STREQUAL "add_subdirectory_into_configured_parent")
    accepted(add_subdirectory -DBUILD_TESTING=ON -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_STANDARD=23
        -DCMAKE_CXX_EXTENSIONS=OFF -DCMAKE_CXX_FLAGS=-DPARENT)
elseif(CASE STREQUAL "add_subdirectory_without_fmt_refused")
    refused(add_subdirectory "interlock needs fmt 9 or newer" -DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON)

elseif(CASE MATCHES "^add_subdirectory_(.+)_compiled$")
    accepted(add_subdirectory -DCONSUMER_COMPILED=${CMAKE_MATCH_1})

# The switches.
elseif(CASE MATCHES "^switch_(.+)_off$")  # nobody looks for its client library then
    switch_of(${CMAKE_MATCH_1} switch)
    configured(add_subdirectory -D${switch}=OFF -DCONSUMER_LEFT_OUT=${CMAKE_MATCH_1}
        -DCONSUMER_NOT_LOOKED_FOR=${NOT_LOOKED_FOR})
elseif(CASE MATCHES "^switch_(.+)_on_without_(.+)_refused$")
    set(component ${CMAKE_MATCH_1})
    set(need ${CMAKE_MATCH_2})
    include("${components}/${component}.cmake")
    switch_of(${component} switch)
    without(${need} arguments)
    refused(add_subdirectory "${switch} is ON, and interlock::${component} needs ${${need}_called}"
        -D${switch}=ON ${arguments})
elseif(CASE MATCHES "^switch_(.+)_misspelt_refused$")
    switch_of(${CMAKE_MATCH_1} switch)
    refused(add_subdirectory "${switch} is 'of', and can be AUTO, ON or OFF" -D${switch}=of)

# Without CMake.
elseif(CASE MATCHES "^pkg_config_(.+)$")
    set(component ${CMAKE_MATCH_1})
    set(module interlock)
    set(source main.cpp)
    if(NOT component STREQUAL "core")
        string(REPLACE "_" "-" module "interlock-${component}")
        set(source ${component}.cpp)
    endif()
    file(GLOB_RECURSE files "${prefix}/*/${module}.pc")
    cmake_path(GET files PARENT_PATH folder)
    find_program(pkg_config NAMES pkgconf pkg-config REQUIRED)
    run(${CMAKE_COMMAND} -E env "PKG_CONFIG_PATH=${folder}" "${pkg_config}" --cflags --libs ${module})
    string(STRIP "${output}" output)
    separate_arguments(flags UNIX_COMMAND "${output}")
    # What needs no library of its own compiles if the core does, and takes as long.
    components_with_needs(linked)
    if(component IN_LIST linked OR component STREQUAL "core")
        compiled(${source} ${flags})
    endif()

# From a repository.
elseif(CASE STREQUAL "clone")
    # With what is not committed yet, so not by git clone.
    set(source "${CMAKE_CURRENT_LIST_DIR}/../..")
    file(REMOVE_RECURSE "${clone}")
    file(COPY "${source}/CMakeLists.txt" "${source}/LICENSE" "${source}/cmake" "${source}/include"
        DESTINATION "${clone}")
    find_program(git git REQUIRED)
    run(${git} -C "${clone}" init --quiet)
    run(${git} -C "${clone}" add --all --force)
    run(${git} -C "${clone}" -c user.name=t -c user.email=t@example.org commit --quiet -m "all")
    run(${git} -C "${clone}" tag tried)
elseif(CASE STREQUAL "fetch_content")
    file(GLOB left_out RELATIVE "${components}" "${components}/*.cmake")
    list(REMOVE_ITEM left_out core.cmake)
    list(TRANSFORM left_out REPLACE "\\.cmake$" "")
    list(JOIN left_out "," left_out)
    accepted(fetch_content "-DCONSUMER_REPOSITORY=file://${clone}" -DCONSUMER_TAG=tried
        "-DCONSUMER_LEFT_OUT=${left_out}")

# The recipes of package managers. Each knows every component that there is a choice about.
elseif(CASE STREQUAL "vcpkg")
    file(READ "${clone}/cmake/packaging/vcpkg/vcpkg.json" manifest)
    components_with_needs(expected)
    foreach(component IN LISTS expected)
        string(REPLACE "_" "-" feature ${component})
        string(JSON description GET "${manifest}" features ${feature} description)
    endforeach()
    string(JSON version GET "${manifest}" version-semver)
    foreach(chosen IN ITEMS "" "${AVAILABLE}")
        string(REPLACE "_" "-" features "${chosen}")
        string(REPLACE "," ";" chosen "${chosen}")
        set(packages "${build}/packages")
        file(REMOVE_RECURSE "${build}")
        run(${CMAKE_COMMAND} "-DPORT_FOLDER=${clone}/cmake/packaging/vcpkg" "-DFEATURES=${features}"
            "-DPACKAGES=${packages}" "-DBUILD=${build}/work" "-DSETTINGS=${SETTINGS}"
            -P "${CMAKE_CURRENT_LIST_DIR}/replay_vcpkg.cmake")
        foreach(component IN LISTS expected)
            file(GLOB targets "${packages}/share/interlock/interlock-${component}-targets.cmake")
            if(targets AND NOT component IN_LIST chosen OR component IN_LIST chosen AND NOT targets)
                message(FATAL_ERROR "with the features '${features}', ${component} is: '${targets}'")
            endif()
        endforeach()
    endforeach()
    file(REMOVE_RECURSE "${build}-done")
    file(RENAME "${build}" "${build}-done")
    set(prefix "${build}-done/packages")
    accepted(find_package "-DCONSUMER_REQUEST=${version} REQUIRED" -DCONSUMER_LINK=interlock::core)
elseif(CASE STREQUAL "conan")
    run("${PYTHON}" "${CMAKE_CURRENT_LIST_DIR}/replay_conan.py"
        "${clone}/cmake/packaging/conan/conanfile.py" "${build}")
    file(GLOB expected RELATIVE "${components}" "${components}/*.cmake")
    list(TRANSFORM expected REPLACE "\\.cmake$" "")
    foreach(component IN LISTS expected)
        if(NOT output MATCHES "(^|\n)component ${component}: ")
            message(FATAL_ERROR "the recipe has no component ${component}:\n${output}")
        endif()
    endforeach()
    components_with_needs(expected)
    list(JOIN expected " " expected)
    if(NOT output MATCHES "\noptions ${expected}\n")
        message(FATAL_ERROR "the recipe should have the options ${expected}:\n${output}")
    endif()
    # As what it requires provides it: here, the system.
    compiled(main.cpp "-I${build}/package/include" -pthread -lfmt)

elseif(CASE STREQUAL "find_package_core")
    accepted(find_package -DCMAKE_CXX_STANDARD=20)
elseif(CASE STREQUAL "find_package_core_compiled")  # by the project that links it: the package has no archive
    accepted(find_package -DCONSUMER_LINK=interlock::core_compiled)
elseif(CASE STREQUAL "find_package_everything")
    accepted(find_package "-DCONSUMER_REQUEST=0.2 REQUIRED" -DCONSUMER_LINK=interlock::interlock)
elseif(CASE MATCHES "^find_package_(.+)_without_(.+)_refused$")
    set(component ${CMAKE_MATCH_1})
    set(need ${CMAKE_MATCH_2})
    include("${components}/${component}.cmake")
    without(${need} arguments)
    refused(find_package "component '${component}' needs ${${need}_called}"
        "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS ${component}" ${arguments})
elseif(CASE STREQUAL "unknown_optional_component_accepted")
    accepted(find_package "-DCONSUMER_REQUEST=0.1 REQUIRED OPTIONAL_COMPONENTS abacus"
        -DCONSUMER_REFUSES=abacus)
elseif(CASE STREQUAL "unknown_component_refused")
    refused(find_package "no component 'abacus' is installed here, only: core"
        "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS core abacus")
elseif(CASE STREQUAL "find_package_without_fmt_refused")
    refused(find_package "component 'core' needs fmt 9 or newer" -DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON)
elseif(CASE MATCHES "^version_([0-9_]+)_refused$")
    string(REPLACE "_" "." version "${CMAKE_MATCH_1}")
    refused(find_package "compatible with requested version \"${version}\""
        "-DCONSUMER_REQUEST=${version} REQUIRED")
elseif(CASE MATCHES "^find_package_(.+)$")
    set(component ${CMAKE_MATCH_1})
    accepted(find_package "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS ${component}"
        -DCONSUMER_LINK=interlock::${component} -DCONSUMER_SOURCE=${component}.cpp)
    # The program itself says what it is linked with.
    file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/${component}.cpp" words REGEX "^// (Is|Is not) linked with ")
    if(NOT words)
        message(FATAL_ERROR "${component}.cpp needs a line '// Is linked with <library>...'")
    endif()
    foreach(line IN LISTS words)
        string(REGEX MATCH "^// (Is|Is not) linked with (.*)[.]$" line "${line}")
        set(expected YES)
        if(CMAKE_MATCH_1 STREQUAL "Is not")
            set(expected NO)
        endif()
        separate_arguments(libraries UNIX_COMMAND "${CMAKE_MATCH_2}")
        foreach(library IN LISTS libraries)
            links(${expected} ${library})
        endforeach()
    endforeach()
else()
    message(FATAL_ERROR "there is no case '${CASE}'")
endif()
