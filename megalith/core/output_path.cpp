#include "megalith/core/output_path.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> why_no_entry(const fs::path& folder) {
  std::string probe = (folder / ".megalith-probe-XXXXXX").string();
  if (::mkdtemp(probe.data()) == nullptr) {
    return fmt::format("nothing can be written in {}: {}", folder.string(), std::strerror(errno));
  }
  ::rmdir(probe.c_str());
  return std::nullopt;
}

}  // namespace

std::optional<std::string> why_no_folder(const std::string& path) {
  std::error_code error;
  fs::path at = fs::absolute(path, error).lexically_normal();
  while (!fs::exists(fs::symlink_status(at, error)) && at.has_relative_path()) {
    at = at.parent_path();
  }
  if (!fs::is_directory(at, error)) return fmt::format("{} is not a folder", at.string());
  return why_no_entry(at);
}

std::optional<std::string> why_no_file(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return "it is a folder";
  const fs::path parent = fs::absolute(path, error).parent_path();
  if (!fs::exists(parent, error)) return fmt::format("there is no folder {}", parent.string());
  if (!fs::is_directory(parent, error)) return fmt::format("{} is not a folder", parent.string());
  if (fs::exists(path, error) && ::access(path.c_str(), W_OK) != 0) return std::strerror(errno);
  return why_no_entry(parent);
}

}  // namespace megalith
