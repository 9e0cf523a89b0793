# Headers, one export file per component, and the package files that read them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/interlock")

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
endforeach()

configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/cmake/interlockConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/interlockConfig.cmake"
    INSTALL_DESTINATION "${package_dir}"
    NO_SET_AND_CHECK_MACRO)
# Until 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/interlockConfigVersion.cmake"
    VERSION ${PROJECT_VERSION}
    COMPATIBILITY SameMinorVersion
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
