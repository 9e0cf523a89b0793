# cmake -D SETTINGS=<settings.cmake> -D CASE=<case> -P check_consumer.cmake
#
# Configures, builds and runs the consumer projects as a user would, with nothing handed on from our build
# but generator, compiler and compiler launcher. SETTINGS sets interlock_build, work, generator,
# make_program, compiler, launcher.

cmake_minimum_required(VERSION 3.23)
include("${SETTINGS}")

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
        message(FATAL_ERROR "is the consumer linked with ${library}? ${is}, and it should be: ${expected}\n${output}")
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
        if(NOT file MATCHES "^include/interlock/.+\\.hpp$|/cmake/interlock/[^/]+\\.cmake$|/LICENSE$")
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

elseif(CASE STREQUAL "find_package_core")
    accepted(find_package)
elseif(CASE STREQUAL "find_package_everything")
    accepted(find_package "-DCONSUMER_REQUEST=0.1 REQUIRED" -DCONSUMER_LINK=interlock::interlock)
elseif(CASE STREQUAL "find_package_redis")
    accepted(find_package "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS redis" -DCONSUMER_LINK=interlock::redis
        -DCONSUMER_SOURCE=redis.cpp)
    links(YES libhiredis)
    links(NO libssl)
    links(NO libcrypto)
elseif(CASE STREQUAL "find_package_redis_tls")
    accepted(find_package "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS redis_tls" -DCONSUMER_LINK=interlock::redis_tls
        -DCONSUMER_SOURCE=redis_tls.cpp)
    links(YES libssl)
elseif(CASE STREQUAL "find_package_without_openssl_refused")
    refused(find_package "component 'redis_tls' needs OpenSSL 1.1.1 or newer"
        "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS redis redis_tls" -DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON)
elseif(CASE STREQUAL "find_package_without_hiredis_refused")
    refused(find_package "component 'redis' needs hiredis" "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS redis"
        -DCMAKE_DISABLE_FIND_PACKAGE_hiredis=ON -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON)
elseif(CASE STREQUAL "find_package_postgres")
    accepted(find_package "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS postgres" -DCONSUMER_LINK=interlock::postgres
        -DCONSUMER_SOURCE=postgres.cpp)
elseif(CASE STREQUAL "find_package_without_libpqxx_refused")
    refused(find_package "component 'postgres' needs libpqxx" "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS postgres"
        -DCMAKE_DISABLE_FIND_PACKAGE_libpqxx=ON -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON)
elseif(CASE STREQUAL "unknown_optional_component_accepted")
    accepted(find_package "-DCONSUMER_REQUEST=0.1 REQUIRED OPTIONAL_COMPONENTS abacus" -DCONSUMER_REFUSES=abacus)
elseif(CASE STREQUAL "unknown_component_refused")
    refused(find_package "no component 'abacus' is installed here, only: core"
        "-DCONSUMER_REQUEST=0.1 REQUIRED COMPONENTS core abacus")
elseif(CASE STREQUAL "find_package_without_fmt_refused")
    refused(find_package "component 'core' needs fmt 9 or newer" -DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON)
elseif(CASE MATCHES "^version_([0-9_]+)_refused$")
    string(REPLACE "_" "." version "${CMAKE_MATCH_1}")
    refused(find_package "compatible with requested version \"${version}\"" "-DCONSUMER_REQUEST=${version} REQUIRED")
else()
    message(FATAL_ERROR "there is no case '${CASE}'")
endif()
