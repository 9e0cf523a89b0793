# cmake -D SETTINGS=<settings.cmake> -D CASE=<case> -P check_consumer.cmake
#
# Configures, builds and runs the consumer projects as a user would, with nothing handed on from our build
# but generator, compiler and compiler launcher. SETTINGS sets interlock_build, work, generator,
# make_program, compiler, launcher.

cmake_minimum_required(VERSION 3.23)
include("${SETTINGS}")

set(components "${CMAKE_CURRENT_LIST_DIR}/../../cmake/components")
set(prefix "${work}/prefix")
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
    configure_command(${project} ${ARGN})
    run(${command})
    run(${CMAKE_COMMAND} --build "${build}")
    run("${build}/consumer")
    if(NOT output MATCHES "^interlock [0-9]+\\.[0-9]+\\.[0-9]+\n$")
        message(FATAL_ERROR "the consumer ran, but said: ${output}")
    endif()
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

elseif(CASE STREQUAL "find_package_core")
    accepted(find_package)
elseif(CASE STREQUAL "find_package_core_compiled")  # by the project that links it: the package has no archive
    accepted(find_package -DCONSUMER_LINK=interlock::core_compiled)
elseif(CASE STREQUAL "find_package_everything")
    accepted(find_package "-DCONSUMER_REQUEST=0.1 REQUIRED" -DCONSUMER_LINK=interlock::interlock)
elseif(CASE MATCHES "^find_package_(.+)_without_(.+)_refused$")
    set(component ${CMAKE_MATCH_1})
    set(need ${CMAKE_MATCH_2})
    include("${components}/${component}.cmake")
    if(DEFINED ${need}_pkg_config)
        set(without -DCMAKE_DISABLE_FIND_PACKAGE_${${need}_pkg_config}=ON
            -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON)
    else()
        list(GET ${need}_package 0 package)
        set(without -DCMAKE_DISABLE_FIND_PACKAGE_${package}=ON)
    endif()
    refused(find_package "component '${component}' needs ${${need}_called}"
        "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS ${component}" ${without})
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
