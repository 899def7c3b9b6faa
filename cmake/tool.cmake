# The command-line tool.
file(GLOB SOMA_CLI_SOURCES CONFIGURE_DEPENDS cli/*.c)
if(SOMA_CLI_SOURCES)
  add_executable(soma_cli ${SOMA_CLI_SOURCES})
  set_target_properties(soma_cli PROPERTIES OUTPUT_NAME soma BUILD_RPATH_USE_ORIGIN ON INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  target_link_libraries(soma_cli PRIVATE soma PkgConfig::JANSSON m Threads::Threads)
  target_include_directories(soma_cli PRIVATE cli)
endif()
# libcurl is loaded at run time, and only for downloads: here its headers are enough.
if(SOMA_CLI_SOURCES AND CURL_FOUND)
  target_compile_definitions(soma_cli PRIVATE SOMA_HAVE_CURL)
  target_include_directories(soma_cli PRIVATE ${CURL_INCLUDE_DIRS})
endif()
