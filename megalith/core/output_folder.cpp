#include "megalith/core/output_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTemporaryMark = ".tmp-";

/// Without a slash at the end, which would put the temporary folder inside.
std::string without_slash(const std::string& path) {
  const fs::path given(path);
  return given.has_filename() ? path : given.parent_path().string();
}

fs::path parent_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

int open_folder(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/// True when no process that lives fills the folder.
bool is_abandoned(const std::string& path) {
  const int fd = open_folder(path);
  if (fd < 0) return false;
  const bool is_free = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
  ::close(fd);
  return is_free;
}

}  // namespace

void OutputFolder::check(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(without_slash(path), ignored))) return;
  throw UsageError(
      "{}: is there already; it is not overwritten: move it away or choose another --save folder",
      path);
}

OutputFolder::OutputFolder(const std::string& path) : target_(without_slash(path)) {
  check(path);
  remove_leftovers();
  temporary_ = fmt::format("{}{}{}", target_, kTemporaryMark, ::getpid());
  std::error_code error;
  const bool is_new = fs::create_directories(temporary_, error);
  if (error) throw UsageError("{}: cannot be made: {}", temporary_, error.message());
  if (!is_new) throw UsageError("{}: is there already; move it away", temporary_);
  fd_ = open_folder(temporary_);
  if (fd_ >= 0) ::flock(fd_, LOCK_EX | LOCK_NB);  // without locks leftovers stay: no harm
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
  if (fd_ >= 0) ::close(fd_);
}

void OutputFolder::remove_leftovers() const {
  const std::string prefix = fs::path(target_).filename().string() + kTemporaryMark;
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(parent_of(target_), error)) {
    const std::string name = entry.path().filename().string();
    const bool is_temporary =
        name.starts_with(prefix) && name.size() > prefix.size() &&
        name.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
    if (is_temporary && is_abandoned(entry.path().string())) leftovers.push_back(entry.path());
  }
  for (const auto& path : leftovers) {
    fs::remove_all(path, error);
    if (error) throw UsageError("{}: cannot delete: {}", path.string(), error.message());
  }
}

void OutputFolder::commit() {
  sync_folder(temporary_);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    throw RunError(system_error_text(target_, "rename into place"));
  }
  committed_ = true;
  sync_folder(parent_of(target_).string());
}

}  // namespace megalith
