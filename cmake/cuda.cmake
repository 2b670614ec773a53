# The CUDA backend of stipple_core, compiled as STIPPLE_CUDA says.

file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS kernels/cuda/*.cu kernels/cuda/*/*.cu)
file(GLOB CUDA_HOST_SOURCES CONFIGURE_DEPENDS kernels/cuda/*.cpp)
file(GLOB EMULATOR_SOURCES CONFIGURE_DEPENDS kernels/emulator/*.cpp)
file(GLOB DISPATCH_SOURCES CONFIGURE_DEPENDS kernels/*.cpp)

if(NOT STIPPLE_CUDA STREQUAL none)
  # A build with CUDA takes the real device, and dispatches to it.
  get_target_property(sources stipple_core SOURCES)
  list(FILTER sources EXCLUDE REGEX "device_without_cuda")
  set_property(TARGET stipple_core PROPERTY SOURCES ${sources})
  target_sources(stipple_core PRIVATE ${CUDA_SOURCES} ${CUDA_HOST_SOURCES})
  set_property(SOURCE ${DISPATCH_SOURCES} APPEND PROPERTY COMPILE_DEFINITIONS STIPPLE_CUDA)
endif()

if(STIPPLE_CUDA STREQUAL emulated)
  # Sources name themselves by their path in the repository in the emulator's reports; -g1 says the lines. The hooks of
  # -fsanitize=thread tell the emulator of every load and store (kernels/emulator/observer.h); the sanitizer itself is not
  # linked. The vectoriser would merge accesses of neighbouring iterations, which a GPU makes one by one.
  add_library(stipple_emulator STATIC ${EMULATOR_SOURCES})
  target_link_libraries(stipple_emulator PUBLIC options OpenMP::OpenMP_CXX)
  target_include_directories(stipple_emulator PUBLIC kernels/emulator/include)
  target_compile_options(stipple_emulator PRIVATE -O2 -g)  # so that a debugger knows emulator::position
  target_link_libraries(stipple_core PRIVATE stipple_emulator)
  set(KERNEL_OPTIONS -x c++ -g1 -O2 -fno-tree-vectorize -fno-tree-slp-vectorize -Wno-unknown-pragmas
                     -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -ffile-prefix-map=${CMAKE_BINARY_DIR}=.)
  if(NOT STIPPLE_SANITIZE)
    list(APPEND KERNEL_OPTIONS -fsanitize=thread --param=tsan-instrument-func-entry-exit=0)
    target_compile_definitions(stipple_emulator PRIVATE STIPPLE_EMULATOR_HOOKS)
  endif()
  set_source_files_properties(${CUDA_SOURCES} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${KERNEL_OPTIONS}")
elseif(STIPPLE_CUDA STREQUAL nvcc)
  if(NOT CMAKE_CUDA_COMPILER AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
  endif()
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real CACHE STRING "GPUs to compile for")
  enable_language(CUDA)
  set_target_properties(stipple_core PROPERTIES CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}")
  # Spilled registers are a warning. nvcc cannot check format strings while it compiles.
  set(KERNEL_OPTIONS -std=c++20 -Xptxas=--warn-on-spills -DFMT_CONSTEVAL= -DFMT_USE_CONSTEXPR=1)
  # Other compilers than ours, on the machine of somebody with a GPU, may warn of what is none of their business.
  option(STIPPLE_WARNINGS_AS_ERRORS "nvcc's warnings, and its host compiler's, are errors" ON)
  if(STIPPLE_WARNINGS_AS_ERRORS)
    list(APPEND KERNEL_OPTIONS --Werror=all-warnings -Xptxas=--warning-as-error)
  endif()
  target_compile_options(stipple_core PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${KERNEL_OPTIONS}>")
  find_package(CUDAToolkit REQUIRED)
  target_sources(stipple_core PRIVATE kernels/cuda/matmul/cublaslt.cpp)
  target_link_libraries(stipple_core PRIVATE CUDA::cudart CUDA::cublasLt)
elseif(NOT STIPPLE_CUDA STREQUAL none)
  message(FATAL_ERROR "STIPPLE_CUDA is '${STIPPLE_CUDA}'; it can be none, emulated or nvcc")
endif()
