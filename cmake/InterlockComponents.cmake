# What a component is, needs and is refused for stands in one file, components/<name>.cmake. It is read by our
# CMakeLists.txt, by the installed interlockConfig.cmake, and by the tests, so it holds nothing but words:
#
#   component_built_on            other components that this one includes headers of
#   component_headers             patterns under include/interlock; a folder with everything below it
#   component_headers_of_others   a regular expression: what these patterns find, and another component has
#   component_compiled            what separate compilation compiles once per program, as words of an include:
#                                 a unit of its own for each; may be left out
#   component_needs               libraries by names of our own, and for each of them:
#
#   <need>_package      what find_package is called with, a minimum version included; or
#   <need>_pkg_config   the name of a package that some systems ship for CMake and others for pkg-config only
#   <need>_target       the targets of the CMake package
#   <need>_called       what a message calls it
#   <need>_requires     its name for pkg-config, where that is not <need>_pkg_config; may be left out
#   <need>_flags        what else the compiler must be told without CMake; may be left out
#   <need>_includes     a regular expression: the headers of this library; may be left out together with
#   <need>_door         the only headers of ours that may include them
#
# A component whose name is that of a folder of include/interlock/backends is a store.

set(interlock_components_folder "${CMAKE_CURRENT_LIST_DIR}/components")

# interlock_list_components(<names>): all that this tree or package has, `core` first.
function(interlock_list_components names)
    file(GLOB files RELATIVE "${interlock_components_folder}" "${interlock_components_folder}/*.cmake")
    list(TRANSFORM files REPLACE "\\.cmake$" "")
    list(REMOVE_ITEM files core)
    list(SORT files)
    set(${names} core ${files} PARENT_SCOPE)
endfunction()

# interlock_read_component(<name>): sets what is described above.
macro(interlock_read_component name)
    set(component_built_on "")
    set(component_headers "")
    set(component_headers_of_others "^$")
    set(component_compiled "")
    set(component_needs "")
    include("${interlock_components_folder}/${name}.cmake")
endmacro()

# interlock_with_foundations(<components> <result>): the same, and before each what it is built on.
function(interlock_with_foundations components result)
    set(all "")
    foreach(component IN LISTS components)
        if(EXISTS "${interlock_components_folder}/${component}.cmake")
            interlock_read_component(${component})
            interlock_with_foundations("${component_built_on}" foundations)
            list(APPEND all ${foundations})
        endif()
        list(APPEND all ${component})
    endforeach()
    list(REMOVE_DUPLICATES all)
    set(${result} "${all}" PARENT_SCOPE)
endfunction()

# interlock_find_dependencies(<component> <missing> [<links> <found>])
#
# Finds what <component> links to, its foundations too. <missing> becomes a phrase that names what was not
# found, or is empty; <links> becomes the targets of the component's own needs, and <found> a phrase that
# names them with version and place.
function(interlock_find_dependencies component missing)
    # There are no modules in what is tried. Looking for some needs a tool that is not everywhere where clang
    # is: a thread library would not be found then.
    set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
    set(absent "")
    set(links "")
    set(found "")
    interlock_read_component(${component})
    foreach(foundation IN LISTS component_built_on)
        interlock_find_dependencies(${foundation} absent_below)
        list(APPEND absent ${absent_below})
    endforeach()
    foreach(need IN LISTS component_needs)
        if(DEFINED ${need}_pkg_config)
            interlock_find_client(interlock::${need} ${${need}_pkg_config} ${${need}_target} description)
            set(targets interlock::${need})
        else()
            find_package(${${need}_package} QUIET)
            set(targets ${${need}_target})
            list(GET ${need}_package 0 package)
            string(TOUPPER ${package} upper)
            set(version "${${package}_VERSION}")
            if(NOT version)
                set(version "${${upper}_VERSION}")
            endif()
            set(place "${${package}_DIR}")
            if(NOT place)
                set(place "${${upper}_INCLUDE_DIR}")
            endif()
            interlock_describe(${package} "${version}" "${place}" description)
        endif()
        list(GET targets 0 first)
        if(NOT TARGET ${first})
            list(APPEND absent "${${need}_called}")
        endif()
        list(APPEND links ${targets})
        list(APPEND found "${description}")
    endforeach()
    list(JOIN absent ", " absent)
    list(JOIN found ", " found)
    set(${missing} "${absent}" PARENT_SCOPE)
    if(ARGC GREATER 2)
        set(${ARGV2} "${links}" PARENT_SCOPE)
        set(${ARGV3} "${found}" PARENT_SCOPE)
    endif()
endfunction()

# interlock_describe(<name> <version> <place> <result>): as a phrase, without what is not known.
function(interlock_describe name version place result)
    set(phrase ${name})
    if(version)
        string(APPEND phrase " ${version}")
    endif()
    if(place)
        string(APPEND phrase " (${place})")
    endif()
    set(${result} "${phrase}" PARENT_SCOPE)
endfunction()

# interlock_find_client(<our target> <package and pkg-config name> <upstream target> [<description>])
#
# One name of our own for a client library that some systems ship with a CMake package and others with
# pkg-config only. <description> becomes a phrase with its version and place.
function(interlock_find_client target name upstream)
    if(ARGC GREATER 3)
        set(${ARGV3} ${name} PARENT_SCOPE)
    endif()
    if(TARGET ${target})
        return()
    endif()
    find_package(${name} QUIET CONFIG)
    if(TARGET ${upstream})
        set(found ${upstream})
        interlock_describe(${name} "${${name}_VERSION}" "${${name}_DIR}" description)
    else()
        find_package(PkgConfig QUIET)
        if(NOT PkgConfig_FOUND)
            return()
        endif()
        pkg_check_modules(INTERLOCK_${name} QUIET IMPORTED_TARGET ${name})
        if(NOT TARGET PkgConfig::INTERLOCK_${name})
            return()
        endif()
        set(found PkgConfig::INTERLOCK_${name})
        interlock_describe(
            ${name} "${INTERLOCK_${name}_VERSION}" "${INTERLOCK_${name}_LIBDIR}" description)
    endif()
    add_library(${target} INTERFACE IMPORTED)
    target_link_libraries(${target} INTERFACE ${found})
    if(ARGC GREATER 3)
        set(${ARGV3} "${description}" PARENT_SCOPE)
    endif()
endfunction()

# interlock_add_compiled(<name>)
#
# Makes `interlock::<name>_compiled`: the component, its bodies compiled once instead of in every unit that
# includes its headers. Whatever links it is compiled with the definitions that say so. It is built by the
# compiler, and with the flags, of the project that links it, and only if one does.
function(interlock_add_compiled name)
    interlock_read_component(${name})
    set(target interlock_${name}_compiled)
    if(NOT component_compiled OR TARGET ${target})
        return()
    endif()
    set(units "")
    foreach(header IN LISTS component_compiled)
        string(MAKE_C_IDENTIFIER "${header}" unit)
        set(unit "${CMAKE_CURRENT_BINARY_DIR}/${target}/${unit}.cpp")
        file(CONFIGURE OUTPUT "${unit}" CONTENT "#include <${header}>\n")
        list(APPEND units "${unit}")
    endforeach()
    add_library(${target} STATIC EXCLUDE_FROM_ALL ${units})
    set_target_properties(${target} PROPERTIES CXX_SCAN_FOR_MODULES OFF)
    add_library(interlock::${name}_compiled ALIAS ${target})
    target_compile_definitions(${target}
        PUBLIC INTERLOCK_SEPARATE_COMPILATION BOOST_ASIO_SEPARATE_COMPILATION)
    target_link_libraries(${target} PUBLIC interlock::${name})
    foreach(foundation IN LISTS component_built_on)
        if(TARGET interlock::${foundation}_compiled)
            target_link_libraries(${target} PUBLIC interlock::${foundation}_compiled)
        endif()
    endforeach()
endfunction()
