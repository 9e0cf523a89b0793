# An overlay port: it builds the checkout that it stands in.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../.." ABSOLUTE)

set(VCPKG_BUILD_TYPE release)  # only headers: there is nothing that a debug build would have besides
vcpkg_check_features(OUT_FEATURE_OPTIONS FEATURE_OPTIONS
    FEATURES
        opentelemetry INTERLOCK_OPENTELEMETRY
        postgres INTERLOCK_POSTGRES
        prometheus INTERLOCK_PROMETHEUS
        redis INTERLOCK_REDIS
        redis-tls INTERLOCK_REDIS_TLS
)
# Client libraries that have no CMake package are found by pkg-config.
vcpkg_find_acquire_program(PKGCONFIG)
vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        ${FEATURE_OPTIONS}
        -DPKG_CONFIG_EXECUTABLE=${PKGCONFIG}
        -DINTERLOCK_BUILD_TESTS=OFF
        -DINTERLOCK_BUILD_EXAMPLES=OFF
        -DINTERLOCK_INSTALL=ON
        -DINTERLOCK_INSTALL_CMAKEDIR=share/interlock
        -DINTERLOCK_INSTALL_PKGCONFIGDIR=share/pkgconfig
)
vcpkg_cmake_install()
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/doc")  # the licence, which goes where vcpkg looks for it
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
file(INSTALL "${CURRENT_PORT_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
