# One function a module and one function a test binary, so that the target graph is the layer picture.

add_library(megalith_warnings INTERFACE)
target_compile_options(megalith_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion
  -Wno-sign-conversion $<$<BOOL:${MEGALITH_WERROR}>:-Werror>)

# megalith_module(NAME [FOLDER folder] SOURCES a.cpp ... DEPENDS targets...)
# A static library megalith_NAME from megalith/NAME/ (or megalith/FOLDER/, for a part of a module).
# DEPENDS may only name modules of lower layers.
function(megalith_module name)
  cmake_parse_arguments(ARG "" "FOLDER" "SOURCES;DEPENDS" ${ARGN})
  if(NOT ARG_FOLDER)
    set(ARG_FOLDER ${name})
  endif()
  list(TRANSFORM ARG_SOURCES PREPEND "${CMAKE_SOURCE_DIR}/megalith/${ARG_FOLDER}/")
  add_library(megalith_${name} STATIC ${ARG_SOURCES})
  target_include_directories(megalith_${name} PUBLIC "${CMAKE_SOURCE_DIR}")
  target_link_libraries(megalith_${name} PUBLIC ${ARG_DEPENDS} PRIVATE megalith_warnings)
endfunction()

# megalith_test(NAME [UNITY] SOURCES a.cpp ... LABELS unit|ranks|golden|e2e|gpu DEPENDS targets...
#   [TIMEOUT s])
# One test binary, one ctest entry: starting LibTorch costs 0.2 s, too much to pay for every test.
# UNITY compiles its sources as one file (torch's headers cost 10 s each time they are read): then
# helpers in anonymous namespaces need names of their own within the binary.
function(megalith_test name)
  cmake_parse_arguments(ARG "UNITY" "TIMEOUT" "SOURCES;LABELS;DEPENDS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  list(TRANSFORM ARG_SOURCES PREPEND "${CMAKE_SOURCE_DIR}/tests/")
  add_executable(${name}_test ${ARG_SOURCES})
  set_target_properties(${name}_test PROPERTIES UNITY_BUILD ${ARG_UNITY} UNITY_BUILD_BATCH_SIZE 8)
  target_include_directories(${name}_test PRIVATE "${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(${name}_test PRIVATE ${ARG_DEPENDS} megalith_warnings megalith_test_main GTest::gtest)
  target_compile_definitions(${name}_test PRIVATE
    MEGALITH_SOURCE_DIR="${CMAKE_SOURCE_DIR}" MEGALITH_BINARY="${CMAKE_BINARY_DIR}/megalith")
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()
