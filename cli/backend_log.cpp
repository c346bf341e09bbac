#include "cli/backend_log.hpp"

#include <c10/util/Logging.h>

#include <cstdlib>

namespace megalith::cli {

void quiet_backend_log() {
  constexpr int kErrorLevel = 2;  // as in glog
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = kErrorLevel;
}

}  // namespace megalith::cli
