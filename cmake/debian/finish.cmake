# Run by CPack on the files of all packages before it packs them: Debian wants manual pages and
# changelogs compressed, and no search path in a program, since its loader knows the libraries' place.
file(GLOB_RECURSE texts ${CPACK_TEMPORARY_DIRECTORY}/gf-*.1
     ${CPACK_TEMPORARY_DIRECTORY}/changelog.Debian)
foreach(text ${texts})
  execute_process(COMMAND gzip -9n ${text} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
file(GLOB programs ${CPACK_TEMPORARY_DIRECTORY}/*/usr/bin/*)
foreach(program ${programs})
  file(RPATH_REMOVE FILE ${program})
endforeach()
