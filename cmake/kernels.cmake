# Kernels that are built once per instruction set: every src/kernels/cpu/isa/*.c, compiled with SOMA_ISA_NAME set, which the sources
# put into the names they export (SOMA__ISA(name)). Which of them runs is chosen at run time.
file(GLOB SOMA_ISA_SOURCES CONFIGURE_DEPENDS src/kernels/cpu/isa/*.c)
# Vectors pass between inlined functions only: how they would be passed elsewhere (psabi) is no concern.
# No errno and no traps, so that loops become vectors; no contraction, so that bits do not depend on how a loop was split.
# No unwind tables: kernels call back nobody, and the tables of three copies are a twentieth of the library.
# Builds that look for mistakes take -O1: sanitizers make the unrolled tiles so large that -O3 would compile for minutes.
if(SOMA_SANITIZE OR SOMA_FUZZ)
  set(SOMA_KERNEL_LEVEL -O1)
else()
  set(SOMA_KERNEL_LEVEL -O3)
endif()
set(SOMA_KERNEL_OPTIONS ${SOMA_KERNEL_LEVEL} -fno-asynchronous-unwind-tables -fno-math-errno -fno-trapping-math -ffp-contract=off -Wno-psabi
    $<$<C_COMPILER_ID:Clang>:-Wno-pass-failed>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(SOMA_ISAS sse2 avx2 avx512)
  # For machines of before 2013: small rather than fast.
  set(SOMA_FLAGS_sse2 -Os -ftree-vectorize $<$<C_COMPILER_ID:GNU>:-fvect-cost-model=dynamic>)
  set(SOMA_FLAGS_avx2 -mavx2 -mfma -mf16c)
  set(SOMA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(SOMA_ISAS neon)
  set(SOMA_FLAGS_neon "")
else()
  set(SOMA_ISAS generic)
  set(SOMA_FLAGS_generic "")
endif()
set(SOMA_KERNEL_OBJECTS)
# These wait for memory: unrolled loops would only make them three times as large.
set_property(SOURCE src/kernels/cpu/isa/norm_last.c src/kernels/cpu/isa/pool_last.c APPEND PROPERTY
             COMPILE_OPTIONS -O2 -ftree-vectorize $<$<C_COMPILER_ID:GNU>:-fvect-cost-model=dynamic>)
foreach(isa ${SOMA_ISAS})
  if(SOMA_ISA_SOURCES)
    add_library(soma_kernels_${isa} OBJECT ${SOMA_ISA_SOURCES})
    set_target_properties(soma_kernels_${isa} PROPERTIES POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
    target_include_directories(soma_kernels_${isa} PRIVATE include src)
    target_compile_definitions(soma_kernels_${isa} PRIVATE SOMA_ISA_NAME=${isa} SOMA_ISA_${isa}=1)
    target_compile_options(soma_kernels_${isa} PRIVATE ${SOMA_KERNEL_OPTIONS} ${SOMA_FLAGS_${isa}})
    list(APPEND SOMA_KERNEL_OBJECTS $<TARGET_OBJECTS:soma_kernels_${isa}>)
  endif()
  set_property(SOURCE src/kernels/cpu/isa.c APPEND PROPERTY COMPILE_DEFINITIONS SOMA_HAVE_${isa}=1)
endforeach()
# Many short loops over whole vectors: what is left over needs no vectors of its own.
set_property(SOURCE ${CMAKE_SOURCE_DIR}/src/kernels/cpu/isa/rnn.c APPEND PROPERTY COMPILE_OPTIONS
    $<$<C_COMPILER_ID:GNU>:--param=vect-epilogues-nomask=0>)
# Kernels that exist once in all: the same rules. Rare dtypes are built for size, since they are many.
file(GLOB SOMA_PLAIN_KERNELS CONFIGURE_DEPENDS src/kernels/cpu/*.c)
set_property(SOURCE ${SOMA_PLAIN_KERNELS} APPEND PROPERTY COMPILE_OPTIONS ${SOMA_KERNEL_OPTIONS})
if(NOT SOMA_SANITIZE AND NOT SOMA_FUZZ)
  set_property(SOURCE ${CMAKE_SOURCE_DIR}/src/kernels/cpu/elementwise_wide.c ${CMAKE_SOURCE_DIR}/src/kernels/cpu/rnn.c APPEND PROPERTY COMPILE_OPTIONS -Os)
endif()
set_property(SOURCE ${CMAKE_SOURCE_DIR}/src/kernels/cpu/optim_rules.c APPEND PROPERTY COMPILE_OPTIONS -O2)
set_property(SOURCE ${CMAKE_SOURCE_DIR}/src/kernels/cpu/linalg.c APPEND PROPERTY COMPILE_OPTIONS -O2 -ftree-vectorize
             $<$<C_COMPILER_ID:GNU>:-fvect-cost-model=dynamic>)
