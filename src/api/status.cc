#include "grassflow.h"

const char* gf_status_name(gf_status status) {
  switch (status) {
#define GF_NAME(name, value, text) \
  case name:                       \
    return #name;
    GF_STATUS_TABLE(GF_NAME)
#undef GF_NAME
    case GF_STATUS_INT:
      break;
  }
  return "GF_ERROR_UNKNOWN";
}

const char* gf_status_text(gf_status status) {
  switch (status) {
#define GF_TEXT(name, value, text) \
  case name:                       \
    return text;
    GF_STATUS_TABLE(GF_TEXT)
#undef GF_TEXT
    case GF_STATUS_INT:
      break;
  }
  return "unknown status";
}

int gf_version(void) {
  return GF_VERSION;
}

const char* gf_version_string(void) {
#define GF_STRING(x) #x
#define GF_DOTTED(a, b, c) GF_STRING(a) "." GF_STRING(b) "." GF_STRING(c)
  static_assert(GF_VERSION == 0 * 10000 + 1 * 100 + 0, "the text below");
  return GF_DOTTED(0, 1, 0);
}
