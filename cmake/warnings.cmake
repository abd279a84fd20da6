# Every target of ours links postrider_warnings; third-party headers come in as SYSTEM.
add_library(postrider_warnings INTERFACE)
target_compile_options(postrider_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wimplicit-fallthrough)
if(POSTRIDER_WERROR)
  target_compile_options(postrider_warnings INTERFACE -Werror)
endif()
target_include_directories(postrider_warnings INTERFACE ${PROJECT_SOURCE_DIR})
if(POSTRIDER_FAILPOINTS)
  target_compile_definitions(postrider_warnings INTERFACE POSTRIDER_FAILPOINTS=1)
endif()
