# Finds LibTorch without the wheel's own CMake files (they demand a CUDA toolkit and break under C++20).
#
#   LIBTORCH_ROOT     folder holding include/ and lib/; found through CMAKE_PREFIX_PATH, or asked of the
#                     Python in .venv (or python3) without importing torch
#   LibTorch::headers include folders and definitions
#   LibTorch::fmt     the header-only fmt that LibTorch ships
#   LibTorch::cpu     libtorch_cpu
#   LibTorch::openmp  for files whose loops run on LibTorch's thread pool
#   LibTorch::cuda    libtorch_cuda, NCCL and the CUDA runtime; only when LIBTORCH_CUDA is ON

if(NOT LIBTORCH_ROOT)
  find_path(LIBTORCH_PREFIX_INCLUDE ATen/core/Tensor.h PATH_SUFFIXES include torch/include)
  mark_as_advanced(LIBTORCH_PREFIX_INCLUDE)
  if(LIBTORCH_PREFIX_INCLUDE)
    get_filename_component(_libtorch_root "${LIBTORCH_PREFIX_INCLUDE}" DIRECTORY)
  else()
    find_program(LIBTORCH_PYTHON NAMES python3 PATHS "${CMAKE_SOURCE_DIR}/.venv/bin" NO_DEFAULT_PATH)
    find_program(LIBTORCH_PYTHON NAMES python3 python)
    mark_as_advanced(LIBTORCH_PYTHON)
    execute_process(
      COMMAND "${LIBTORCH_PYTHON}" -c
        "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '', end='')"
      OUTPUT_VARIABLE _libtorch_root ERROR_QUIET)
  endif()
  set(LIBTORCH_ROOT "${_libtorch_root}" CACHE PATH "Folder of LibTorch (holds include/ and lib/)" FORCE)
endif()

set(LIBTORCH_VERSION "")
if(EXISTS "${LIBTORCH_ROOT}/version.py")
  file(STRINGS "${LIBTORCH_ROOT}/version.py" _version REGEX "^__version__")
elseif(EXISTS "${LIBTORCH_ROOT}/build-version")
  file(STRINGS "${LIBTORCH_ROOT}/build-version" _version)
endif()
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+[^' ]*" LIBTORCH_VERSION "${_version}")

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LIBTORCH_ROOT LIBTORCH_VERSION VERSION_VAR LIBTORCH_VERSION
  REASON_FAILURE_MESSAGE "run tools/setup, or pass -DLIBTORCH_ROOT=/path/to/libtorch")

find_package(Threads REQUIRED)
add_library(LibTorch::headers INTERFACE IMPORTED)
target_include_directories(LibTorch::headers SYSTEM INTERFACE
  "${LIBTORCH_ROOT}/include" "${LIBTORCH_ROOT}/include/torch/csrc/api/include")
target_compile_definitions(LibTorch::headers INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)

add_library(LibTorch::fmt INTERFACE IMPORTED)
target_include_directories(LibTorch::fmt SYSTEM INTERFACE "${LIBTORCH_ROOT}/include")
target_compile_definitions(LibTorch::fmt INTERFACE FMT_HEADER_ONLY)

foreach(_name c10 torch_cpu)
  add_library(LibTorch::${_name} SHARED IMPORTED)
  set_target_properties(LibTorch::${_name} PROPERTIES
    IMPORTED_LOCATION "${LIBTORCH_ROOT}/lib/lib${_name}.so")
endforeach()
add_library(LibTorch::cpu INTERFACE IMPORTED)
target_link_libraries(LibTorch::cpu INTERFACE LibTorch::headers LibTorch::torch_cpu LibTorch::c10
  Threads::Threads)
# The wheel's libraries name CUDA libraries that only have to exist at load time.
target_link_options(LibTorch::cpu INTERFACE "-Wl,--allow-shlib-undefined")

# The OpenMP library that LibTorch itself loads: a second one would bring a second pool of threads, and
# the two would take the cores from each other. TSan does not understand it; there loops are serial.
add_library(LibTorch::openmp INTERFACE IMPORTED)
if(NOT MEGALITH_SANITIZE MATCHES "thread")
  file(GLOB _libgomp "${LIBTORCH_ROOT}/lib/libgomp*.so*" "${LIBTORCH_ROOT}/../torch.libs/libgomp*.so*")
  if(_libgomp)
    list(GET _libgomp 0 _libgomp)
  else()
    set(_libgomp gomp)
  endif()
  target_compile_options(LibTorch::openmp INTERFACE -fopenmp)
  target_link_libraries(LibTorch::openmp INTERFACE "${_libgomp}")
endif()

if(LIBTORCH_CUDA)
  find_package(CUDAToolkit REQUIRED)
  find_path(NCCL_INCLUDE nccl.h PATHS "${LIBTORCH_ROOT}/../nvidia/nccl/include"
    ${CUDAToolkit_INCLUDE_DIRS} REQUIRED)
  get_filename_component(_nvidia "${LIBTORCH_ROOT}/../nvidia/cu13/lib" ABSOLUTE)
  add_library(LibTorch::cuda INTERFACE IMPORTED)
  target_include_directories(LibTorch::cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${NCCL_INCLUDE})
  target_compile_definitions(LibTorch::cuda INTERFACE USE_C10D_NCCL USE_CUDA)
  target_link_libraries(LibTorch::cuda INTERFACE LibTorch::cpu
    "-Wl,--push-state,--no-as-needed" "${LIBTORCH_ROOT}/lib/libtorch_cuda.so"
    "${LIBTORCH_ROOT}/lib/libc10_cuda.so" "-Wl,--pop-state" CUDA::cudart)
  target_link_options(LibTorch::cuda INTERFACE "-Wl,--disable-new-dtags" "-Wl,-rpath,${_nvidia}")
endif()
