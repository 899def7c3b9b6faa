# Installation: library, headers, tool, man pages, shell completion, pkg-config, find_package(soma), and a .deb by CPack.
include(CMakePackageConfigHelpers)
set(SOMA_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/soma)

install(TARGETS soma EXPORT somaTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/soma DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(EXPORT somaTargets NAMESPACE soma:: DESTINATION ${SOMA_CMAKE_DIR})
configure_package_config_file(cmake/somaConfig.cmake.in ${CMAKE_BINARY_DIR}/somaConfig.cmake INSTALL_DESTINATION ${SOMA_CMAKE_DIR})
# The ABI only grows inside a major version, and before 1.0 inside a minor one.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/somaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/somaConfig.cmake ${CMAKE_BINARY_DIR}/somaConfigVersion.cmake DESTINATION ${SOMA_CMAKE_DIR})

# soma.pc finds its own place, so that a prefix chosen at install time (cmake --install --prefix) is right too.
file(RELATIVE_PATH SOMA_PC_UP /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" SOMA_PC_UP "${SOMA_PC_UP}")
configure_file(cmake/soma.pc.in ${CMAKE_BINARY_DIR}/soma.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/soma.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Man pages and completion are written by the tool itself, so they need one that runs here.
if(TARGET soma_cli)
  install(TARGETS soma_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  if(NOT CMAKE_CROSSCOMPILING)
    add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/soma.1 ${CMAKE_BINARY_DIR}/completion/soma.bash
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/completion
      COMMAND soma_cli docs man ${CMAKE_BINARY_DIR}/man
      COMMAND soma_cli docs completion bash > ${CMAKE_BINARY_DIR}/completion/soma.bash
      COMMAND soma_cli docs completion zsh > ${CMAKE_BINARY_DIR}/completion/_soma
      COMMAND soma_cli docs completion fish > ${CMAKE_BINARY_DIR}/completion/soma.fish
      DEPENDS soma_cli COMMENT "Man pages and completion" VERBATIM)
    add_custom_target(soma_manual ALL DEPENDS ${CMAKE_BINARY_DIR}/man/soma.1 ${CMAKE_BINARY_DIR}/completion/soma.bash)
    install(DIRECTORY ${CMAKE_BINARY_DIR}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${CMAKE_BINARY_DIR}/completion/soma.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME soma)
    install(FILES ${CMAKE_BINARY_DIR}/completion/_soma DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
    install(FILES ${CMAKE_BINARY_DIR}/completion/soma.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  endif()
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME soma)
set(CPACK_PACKAGE_CONTACT "soma developers")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "deep learning in C: library and command-line tool")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "gnuplot-nox, dataset-fashion-mnist, libcurl4")
set(CPACK_STRIP_FILES ON)
include(CPack)
