#include "megalith/checkpoint/save_folder.hpp"

#include <ATen/core/Tensor.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "megalith/checkpoint/agreement.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// A rank on another host may see what rank 0 wrote a moment later; a network file system that
// shares at all has it by then, since every look opens the folder anew.
constexpr std::chrono::seconds kSharingPatience{5};

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string now_text() {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

Json read_lock(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  return Json::parse(read_text_file(path), nullptr, /*allow_exceptions=*/false);
}

/// "host node1, process 4711, since 2026-01-31 12:00:00 UTC".
std::string holder_text(const std::string& path) {
  const Json holder = read_lock(path);
  if (!holder.is_object()) return "another run that is just starting";
  return fmt::format("a run on host {}, process {}, since {}", holder.value("host", "unknown"),
                     holder.value("pid", int64_t{0}), holder.value("since", "unknown"));
}

void write_all(int fd, const std::string& path, const std::string& text) {
  if (::ftruncate(fd, 0) != 0 ||
      ::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    throw UsageError(system_error_text(path, "write"));
  }
}

/// False when another run holds the lock. Where locks do not work, a notice says so.
bool lock_at_once(int fd, const std::string& path, std::vector<std::string>& notices) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  notices.push_back(fmt::format("{}; nothing keeps a second run from saving to this folder",
                                system_error_text(path, "lock")));
  return true;
}

/// Whether `path` still names the file that is open as `fd`.
bool names_open_file(const std::string& path, int fd) {
  struct stat named {
  }, open{};
  return ::stat(path.c_str(), &named) == 0 && ::fstat(fd, &open) == 0 &&
         named.st_dev == open.st_dev && named.st_ino == open.st_ino;
}

}  // namespace

std::vector<std::string> SaveFolderHold::take(const std::string& folder, const std::string& token) {
  std::vector<std::string> notices;
  lock_path_ = (fs::path(folder) / kLockName).string();
  // Whoever held the folder until now may delete it between our opening its lock and locking it.
  do {
    if (fd_ >= 0) ::close(fd_);
    made_ = create_save_folder(folder);
    fd_ = ::open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) throw UsageError(system_error_text(lock_path_, "open"));
    if (!lock_at_once(fd_, lock_path_, notices)) {
      ::close(std::exchange(fd_, -1));
      throw UsageError(
          "is in use by {}; two runs must not save to one folder: wait for that run, end it, or "
          "choose another --save folder",
          holder_text(lock_path_));
    }
  } while (!names_open_file(lock_path_, fd_));
  const Json holder = {
      {"host", host_name()}, {"pid", ::getpid()}, {"since", now_text()}, {"token", token}};
  write_all(fd_, lock_path_, holder.dump() + "\n");
  return notices;
}

SaveFolderHold::~SaveFolderHold() {
  if (fd_ < 0) return;
  std::error_code ignored;
  const bool is_bare = !made_.empty() && std::distance(fs::directory_iterator(made_[0], ignored),
                                                       fs::directory_iterator()) == 1;
  if (is_bare) {
    fs::remove(lock_path_, ignored);
    for (const auto& folder : made_) ::rmdir(folder.c_str());  // those that are empty
  }
  // Elsewhere the file stays when the run ends: deleting it could take a successor's lock away.
  ::close(fd_);
}

SaveFolder::SaveFolder(std::string path, const ProcessGroups& groups, at::Device device)
    : path_(std::move(path)) {
  const Group& world = groups.world();
  const std::string token = shared_token(world, device);
  const auto agree = [&](const std::string& failure) {
    const Failures failures = gather_failures(failure, world, device);
    if (failures.num_failed > 0) throw UsageError("--save {}: {}", path_, failures.text);
  };
  agree(failure_of([&] {
    if (world.rank != 0) return;
    notices_ = hold_.take(path_, token);
    for (const auto& name : remove_unfinished_saves(path_)) {
      notices_.push_back(
          fmt::format("{}: {} was not finished when its run ended; cleared away", path_, name));
    }
  }));
  agree(failure_of([&] { check_is_shared(token, world.rank); }));
}

void SaveFolder::check_is_shared(const std::string& token, int64_t rank) const {
  const std::string path = (fs::path(path_) / kLockName).string();
  const auto limit = std::chrono::steady_clock::now() + kSharingPatience;
  while (true) {
    std::error_code ignored;
    for (fs::directory_iterator it(path_, ignored), end; !ignored && it != end;
         it.increment(ignored)) {
    }
    const Json holder = read_lock(path);
    if (holder.is_object() && holder.value("token", "") == token) break;
    if (std::chrono::steady_clock::now() > limit) {
      throw UsageError(
          "on host {}, {} is not what rank 0 wrote; the save folder must be on a disk that all "
          "ranks "
          "share, under the same path",
          host_name(), fs::absolute(path).string());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  // Named like an unfinished write of the metrics, so that a leftover is cleared away.
  AtomicFile probe((fs::path(path_) / fmt::format("metrics.jsonl.tmp.rank{}", rank)).string());
  probe.write("may this rank write here?\n");
  probe.finish();
}

void SaveFolder::remove_surplus(int64_t saved, const KeepRule& rule) const {
  for (const int64_t iteration : surplus_iterations(complete_iterations(path_), saved, rule)) {
    remove_checkpoint(path_, iteration);
  }
}

}  // namespace megalith
