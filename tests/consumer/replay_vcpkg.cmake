# cmake -D PORT_FOLDER=... -D FEATURES=a,b -D PACKAGES=... -D BUILD=... -D SETTINGS=... -P replay_vcpkg.cmake
#
# Takes the steps of a port without vcpkg: its functions are replaced by what vcpkg's manual says that they
# do. SETTINGS: as of check_consumer.cmake.

cmake_minimum_required(VERSION 3.23)
include("${SETTINGS}")
string(REPLACE "," ";" FEATURES "${FEATURES}")

function(run)
    execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_check_features)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "FEATURES;INVERTED_FEATURES")
    set(options "")
    while(arg_FEATURES)
        list(POP_FRONT arg_FEATURES feature variable)
        set(value OFF)
        if(feature IN_LIST FEATURES)
            set(value ON)
        endif()
        list(APPEND options -D${variable}=${value})
    endwhile()
    set(${arg_OUT_FEATURE_OPTIONS} "${options}" PARENT_SCOPE)
endfunction()

function(vcpkg_find_acquire_program name)
    find_program(${name} pkg-config REQUIRED)
endfunction()

function(vcpkg_cmake_configure)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
    run(${CMAKE_COMMAND} -S "${arg_SOURCE_PATH}" -B "${BUILD}" -G "${generator}"
        "-DCMAKE_MAKE_PROGRAM=${make_program}"
        "-DCMAKE_CXX_COMPILER=${compiler}" ${arg_OPTIONS}
        -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF "-DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR}"
        -DCMAKE_INSTALL_LIBDIR:STRING=lib)
endfunction()

function(vcpkg_cmake_install)
    run(${CMAKE_COMMAND} --build "${BUILD}" --target install)
endfunction()

# It looks at each file, and that its modules are there.
function(vcpkg_fixup_pkgconfig)
    file(GLOB_RECURSE files "${CURRENT_PACKAGES_DIR}/*.pc")
    foreach(file IN LISTS files)
        cmake_path(GET file PARENT_PATH folder)
        run(${CMAKE_COMMAND} -E env "PKG_CONFIG_PATH=${folder}" pkg-config --exists --print-errors "${file}")
    endforeach()
endfunction()

function(vcpkg_install_copyright)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
    file(INSTALL ${arg_FILE_LIST} DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}" RENAME copyright)
endfunction()

set(PORT interlock)
set(CURRENT_PORT_DIR "${PORT_FOLDER}")
set(CURRENT_PACKAGES_DIR "${PACKAGES}")
include("${PORT_FOLDER}/portfile.cmake")

# What vcpkg looks for after each port.
file(GLOB found RELATIVE "${PACKAGES}" "${PACKAGES}/*" "${PACKAGES}/share/*")
list(SORT found)
if(NOT found STREQUAL "include;share;share/${PORT};share/pkgconfig")
    message(FATAL_ERROR "the port installs more, or less, than a port may: ${found}")
endif()
if(NOT EXISTS "${PACKAGES}/share/${PORT}/copyright")
    message(FATAL_ERROR "there is no licence")
endif()
