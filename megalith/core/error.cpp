#include "megalith/core/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace megalith {

void Problems::raise_if_any() const {
  if (texts_.empty()) return;
  // What two checks found alike is one mistake.
  std::vector<std::string> different;
  for (const auto& text : texts_) {
    if (std::find(different.begin(), different.end(), text) == different.end()) {
      different.push_back(text);
    }
  }
  if (different.size() == 1) throw UsageError(different.front());
  std::string all = fmt::format("{} mistakes:", different.size());
  for (const auto& text : different) all += "\n  - " + text;
  throw UsageError(all);
}

std::string system_error_text(const std::string& path, const char* action) {
  return fmt::format("{}: cannot {}: {}", path, action, std::strerror(errno));
}

}  // namespace megalith
