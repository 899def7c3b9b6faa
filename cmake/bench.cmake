# The programs of `make bench`, built on request (target `bench_programs`). Workloads are users' programs against the shared library and
# its public headers; bench/*.c are micro-benchmarks of kernels against the static one, beside oneDNN and libxsmm where they are
# found and any cblas that is named at run time.
add_custom_target(bench_programs)
file(GLOB SOMA_WORKLOADS CONFIGURE_DEPENDS bench/workloads/*.c)
add_executable(bench_workloads EXCLUDE_FROM_ALL ${SOMA_WORKLOADS})
target_link_libraries(bench_workloads PRIVATE soma PkgConfig::JANSSON)
add_executable(bench_first EXCLUDE_FROM_ALL bench/first.c)
target_link_libraries(bench_first PRIVATE soma)

find_path(DNNL_INCLUDE oneapi/dnnl/dnnl.h)
find_library(DNNL_LIBRARY dnnl)
foreach(name gemm conv limits)
  add_executable(bench_${name} EXCLUDE_FROM_ALL bench/${name}.c)
  target_link_libraries(bench_${name} PRIVATE soma_static Threads::Threads ${CMAKE_DL_LIBS})
  if(DNNL_INCLUDE AND DNNL_LIBRARY)
    target_compile_definitions(bench_${name} PRIVATE HAVE_DNNL=1)
    target_include_directories(bench_${name} PRIVATE ${DNNL_INCLUDE})
    target_link_libraries(bench_${name} PRIVATE ${DNNL_LIBRARY})
  endif()
endforeach()
add_dependencies(bench_programs bench_workloads bench_first bench_gemm bench_conv bench_limits)
