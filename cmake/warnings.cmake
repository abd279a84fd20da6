# Every target of ours links postrider_warnings; third-party headers come in as SYSTEM.
add_library(postrider_warnings INTERFACE)
target_compile_options(postrider_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wimplicit-fallthrough)
# GCC 12 sees an overlap inside std::string's operator+ that is not there, when it optimises (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(postrider_warnings INTERFACE -Wno-restrict)
endif()
if(POSTRIDER_WERROR)
  target_compile_options(postrider_warnings INTERFACE -Werror)
endif()
target_include_directories(postrider_warnings INTERFACE ${PROJECT_SOURCE_DIR})
if(POSTRIDER_FAILPOINTS)
  target_compile_definitions(postrider_warnings INTERFACE POSTRIDER_FAILPOINTS=1)
endif()
