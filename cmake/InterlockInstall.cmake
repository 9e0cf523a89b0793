# Headers, one export file and one .pc file per component, and the package files that read them. All of it can
# be moved afterwards: nothing remembers where it was installed.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(INTERLOCK_INSTALL_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/interlock" CACHE STRING
    "Where interlockConfig.cmake goes, below the prefix")
set(INTERLOCK_INSTALL_PKGCONFIGDIR "${CMAKE_INSTALL_LIBDIR}/pkgconfig" CACHE STRING
    "Where the .pc files go, below the prefix")
mark_as_advanced(INTERLOCK_INSTALL_CMAKEDIR INTERLOCK_INSTALL_PKGCONFIGDIR)
set(package_dir "${INTERLOCK_INSTALL_CMAKEDIR}")

# interlock_install_pc(<component>): interlock.pc of core, interlock-<component>.pc of each other one.
function(interlock_install_pc component)
    interlock_read_component(${component})
    set(requires "")
    set(flags "")
    foreach(foundation IN LISTS component_built_on)
        list(APPEND requires interlock-${foundation})
    endforeach()
    foreach(need IN LISTS component_needs)
        list(APPEND requires ${${need}_requires} ${${need}_pkg_config})
        list(APPEND flags ${${need}_flags})
    endforeach()
    set(module interlock-${component})
    foreach(name IN ITEMS module requires)
        list(TRANSFORM ${name} REPLACE "^interlock-core$" interlock)
        list(TRANSFORM ${name} REPLACE "_" "-")
    endforeach()
    list(JOIN requires ", " requires)
    list(JOIN flags " " flags)
    set(cflags "${flags}")
    # Boost has no .pc file. The compiler finds it where systems have it; elsewhere it must be told.
    if(component STREQUAL "core")
        get_target_property(places Boost::headers INTERFACE_INCLUDE_DIRECTORIES)
        foreach(place IN LISTS places)
            cmake_path(NORMAL_PATH place)
            if(NOT place IN_LIST CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
                string(APPEND cflags " -I${place}")
            endif()
        endforeach()
    endif()
    if(IS_ABSOLUTE "${INTERLOCK_INSTALL_PKGCONFIGDIR}")
        set(prefix "${CMAKE_INSTALL_PREFIX}")
    else()  # from where the file is to the prefix, as often up as the path to it is deep
        string(REGEX REPLACE "[^/]+" ".." prefix "${INTERLOCK_INSTALL_PKGCONFIGDIR}")
        string(PREPEND prefix "\${pcfiledir}/")
    endif()
    set(includes "${CMAKE_INSTALL_INCLUDEDIR}")
    if(NOT IS_ABSOLUTE "${includes}")
        string(PREPEND includes "\${prefix}/")
    endif()
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/pkgconfig/${module}.pc" @ONLY CONTENT
"prefix=@prefix@

Name: @module@
Description: @PROJECT_DESCRIPTION@ (needs C++20)
Version: @PROJECT_VERSION@
Requires: @requires@
Cflags: -I@includes@ @cflags@
Libs: @flags@
")
    install(FILES "${PROJECT_BINARY_DIR}/pkgconfig/${module}.pc"
        DESTINATION "${INTERLOCK_INSTALL_PKGCONFIGDIR}")
endfunction()

get_target_property(components interlock INTERLOCK_COMPONENTS)
foreach(component IN LISTS components)
    get_target_property(header_sets interlock_${component} INTERFACE_HEADER_SETS)
    set(destinations "")
    foreach(header_set IN LISTS header_sets)
        list(APPEND destinations FILE_SET ${header_set} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    endforeach()
    install(TARGETS interlock_${component} EXPORT interlock-${component} ${destinations})
    install(EXPORT interlock-${component}
        NAMESPACE interlock::
        FILE interlock-${component}-targets.cmake
        DESTINATION "${package_dir}")
    interlock_install_pc(${component})
endforeach()

configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/cmake/interlockConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/interlockConfig.cmake"
    INSTALL_DESTINATION "${package_dir}"
    NO_SET_AND_CHECK_MACRO)
# Until 1.0 a minor version may change the interface. This one builds what was written for 0.1.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/interlockConfigVersion.cmake"
    VERSION ${PROJECT_VERSION}
    COMPATIBILITY SameMajorVersion
    ARCH_INDEPENDENT)
install(FILES
    "${PROJECT_BINARY_DIR}/interlockConfig.cmake"
    "${PROJECT_BINARY_DIR}/interlockConfigVersion.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/InterlockComponents.cmake"
    DESTINATION "${package_dir}")
list(TRANSFORM components APPEND ".cmake" OUTPUT_VARIABLE component_files)
list(TRANSFORM component_files PREPEND "${PROJECT_SOURCE_DIR}/cmake/components/")
install(FILES ${component_files} DESTINATION "${package_dir}/components")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
