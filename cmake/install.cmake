# Installation: library, headers, tool, pkg-config and find_package(soma).
include(CMakePackageConfigHelpers)
install(TARGETS soma EXPORT somaTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/soma DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
