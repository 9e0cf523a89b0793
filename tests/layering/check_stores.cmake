# cmake -D ROOT=<the repository> -P check_stores.cmake
#
# A store that needs a client library is a component (cmake/components) and a folder of backends, contract
# fixtures and tests. Everything else finds it by itself. So no other file of the library, of the tests or of
# the build names it, but for its line in the support matrix. What has the store's name in its own path is the
# store's.
#
# Not looked at: prose (*.md), patches, the list of known habits, and programs in examples/ and benchmarks/,
# which use whatever store they like; and recipes of package managers, which must write every store out (the
# consumer tests compare them with cmake/components).

cmake_minimum_required(VERSION 3.23)

set(allowed "tests/compile_pass/support_matrix.cpp")
# These make up trees of their own in order to test a checker.
set(not_looked_at "(^|/)self_test\\.cmake$|\\.md$|\\.patch$|(^|/)habits/known\\.txt$|^cmake/packaging/")

file(GLOB_RECURSE components RELATIVE "${ROOT}/cmake/components" "${ROOT}/cmake/components/*.cmake")
list(TRANSFORM components REPLACE "\\.cmake$" "")
file(GLOB files RELATIVE "${ROOT}"
    "${ROOT}/CMakeLists.txt" "${ROOT}/CMakePresets.json" "${ROOT}/examples/CMakeLists.txt"
        "${ROOT}/examples/run"
    "${ROOT}/benchmarks/CMakeLists.txt" "${ROOT}/.ci/*")
file(GLOB_RECURSE more RELATIVE "${ROOT}" "${ROOT}/include/*" "${ROOT}/tests/*" "${ROOT}/cmake/*")
list(APPEND files ${more})
list(FILTER files EXCLUDE REGEX "${not_looked_at}")

set(violations 0)
set(stores "")
foreach(store IN LISTS components)
    if(NOT IS_DIRECTORY "${ROOT}/include/interlock/backends/${store}")
        continue()
    endif()
    list(APPEND stores ${store})
    string(TOUPPER ${store} upper)
    foreach(file IN LISTS files)
        if("/${file}" MATCHES "[/_.]${store}[/_.]" OR file IN_LIST allowed)
            continue()
        endif()
        # `store:` is no mention: a URL, or the words of a failure.
        file(STRINGS "${ROOT}/${file}" lines REGEX
            "(^|[^A-Za-z0-9])${store}([^:]|::|$)|(^|[^A-Za-z0-9])${upper}([^A-Za-z]|$)")
        list(FILTER lines EXCLUDE REGEX "^ *//")  # an example in a comment binds nobody
        foreach(line IN LISTS lines)
            message(NOTICE "${file}: a shared file names the store ${store}: ${line}")
            math(EXPR violations "${violations} + 1")
        endforeach()
    endforeach()
endforeach()

if(NOT stores)
    message(FATAL_ERROR "there is no store with a client library under '${ROOT}'")
endif()
if(NOT violations EQUAL 0)
    message(FATAL_ERROR "stores: ${violations} lines of shared files name one")
endif()
list(JOIN stores ", " stores)
message(NOTICE "stores: no shared file names one of ${stores}")
