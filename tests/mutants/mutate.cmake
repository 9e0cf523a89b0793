# cmake -D PATCH=<x.patch> -D INCLUDE=<include/> -D TO=<folder> -P mutate.cmake
#
# Makes <folder>/include: the library with a patch that takes something out of it again. Fails when the patch
# does not apply, or changes nothing.

cmake_minimum_required(VERSION 3.23)
find_program(git git REQUIRED)

file(REMOVE_RECURSE "${TO}/include")
file(MAKE_DIRECTORY "${TO}")
file(COPY "${INCLUDE}" DESTINATION "${TO}" FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")
# Inside of a repository, git leaves out what does not stand in its folder, and says nothing; so it must not
# see ours.
execute_process(
    COMMAND ${CMAKE_COMMAND} -E env "GIT_CEILING_DIRECTORIES=${TO}/.." "GIT_DIR=${TO}/no_repository"
        ${git} apply --verbose "${PATCH}"
    WORKING_DIRECTORY "${TO}"
    RESULT_VARIABLE code
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
if(NOT code EQUAL 0)
    message(FATAL_ERROR "${PATCH} does not apply:\n${output}")
endif()
file(GLOB_RECURSE headers RELATIVE "${TO}/include" "${TO}/include/*.hpp" "${TO}/include/*.ipp")
foreach(header IN LISTS headers)
    file(SHA1 "${TO}/include/${header}" mutated)
    file(SHA1 "${INCLUDE}/${header}" original)
    if(NOT mutated STREQUAL original)
        return()
    endif()
endforeach()
message(FATAL_ERROR "${PATCH} changes no header")
