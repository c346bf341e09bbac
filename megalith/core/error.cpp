#include "megalith/core/error.hpp"

#include <cerrno>
#include <cstring>

namespace megalith {

void Problems::raise_if_any() const {
  if (texts_.empty()) return;
  if (texts_.size() == 1) throw UsageError(texts_.front());
  std::string all = fmt::format("{} mistakes:", texts_.size());
  for (const auto& text : texts_) all += "\n  - " + text;
  throw UsageError(all);
}

std::string system_error_text(const std::string& path, const char* action) {
  return fmt::format("{}: cannot {}: {}", path, action, std::strerror(errno));
}

}  // namespace megalith
