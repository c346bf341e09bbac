#include "tests/support/process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace megalith::testing {
namespace {

using Clock = std::chrono::steady_clock;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void redirect(const std::filesystem::path& path, int flags, int target) {
  const int fd = ::open(path.c_str(), flags, 0600);
  if (fd < 0 || ::dup2(fd, target) < 0) ::_exit(126);
  if (fd != target) ::close(fd);
}

}  // namespace

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words cut(const std::string& text) {
  Words words;
  std::istringstream in(text);
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

Process::Process(const Words& words, const ProcessOptions& options) {
  std::string name = (std::filesystem::temp_directory_path() / "megalith-process-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw std::runtime_error("cannot make the temporary folder " + name);
  folder_ = name;
  std::ofstream(folder_ / "in", std::ios::binary) << options.input;
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot start " + words.at(0));
  if (pid_ == 0) {
    ::setpgid(0, 0);
    redirect(folder_ / "in", O_RDONLY, STDIN_FILENO);
    redirect(folder_ / "out", O_WRONLY | O_CREAT | O_APPEND, STDOUT_FILENO);
    redirect(folder_ / "err", O_WRONLY | O_CREAT | O_APPEND, STDERR_FILENO);
    for (const auto& [key, value] : options.environment) {
      ::setenv(key.c_str(), value.c_str(), 1);
    }
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::setpgid(pid_, pid_);
}

Process::~Process() {
  if (!is_reaped_) {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Process::send(int signal) const { ::kill(pid_, signal); }

bool Process::has_ended() {
  if (!is_reaped_) is_reaped_ = ::waitpid(pid_, &wait_status_, WNOHANG) == pid_;
  return is_reaped_;
}

ProcessResult Process::wait(double seconds) {
  const auto limit = Clock::now() + std::chrono::duration<double>(seconds);
  bool is_late = false;
  while (!has_ended()) {
    is_late = Clock::now() > limit;
    if (is_late) {
      ::kill(-pid_, SIGKILL);
      ::waitpid(pid_, &wait_status_, 0);
      is_reaped_ = true;
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  ProcessResult result;
  result.out = output();
  result.err = read_file(folder_ / "err");
  if (is_late) {
    result.err += "\n[killed by the test after its time limit]\n";
  } else {
    result.status =
        WIFSIGNALED(wait_status_) ? 128 + WTERMSIG(wait_status_) : WEXITSTATUS(wait_status_);
  }
  return result;
}

std::string Process::output() const { return read_file(folder_ / "out"); }

bool Process::wait_for_output(const std::string& text, double seconds) {
  const auto limit = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < limit) {
    const bool has_ended_before = has_ended();
    if (output().find(text) != std::string::npos) return true;
    if (has_ended_before) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

ProcessResult run_process(const Words& words, const ProcessOptions& options, double seconds) {
  return Process(words, options).wait(seconds);
}

}  // namespace megalith::testing
