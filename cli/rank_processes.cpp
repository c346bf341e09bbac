#include "cli/rank_processes.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <optional>

#include "megalith/core/error.hpp"

namespace megalith::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array kForwardedSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
constexpr std::array kHandledSignals = {SIGCHLD, SIGTSTP, SIGCONT};
// Enough output to wait for a slow reader; beyond it the ranks wait too.
constexpr size_t kMostPendingBytes = 1 << 20;
// Exit statuses as a shell gives them.
constexpr int kSignalStatus = 128;
constexpr int kCannotExecStatus = 127;

/// A descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw RunError(system_error_text("pipe", "open"));
  return {Fd(ends[0]), Fd(ends[1])};
}

/// Bytes on their way to standard output or error; never blocks for longer than a small write.
class Outlet {
 public:
  explicit Outlet(int fd) : fd_(fd) {}
  void add(const std::string& text) { pending_ += is_gone_ ? "" : text; }
  bool is_pending() const { return !pending_.empty(); }
  bool is_full() const { return pending_.size() >= kMostPendingBytes; }
  bool has_lost_reader() const { return has_lost_reader_; }
  int fd() const { return fd_; }

  /// Writes what poll() has promised room for: at most PIPE_BUF bytes.
  void write_some() {
    const ssize_t count =
        ::write(fd_, pending_.data(), std::min<size_t>(pending_.size(), PIPE_BUF));
    if (count >= 0) {
      pending_.erase(0, static_cast<size_t>(count));
    } else if (errno != EINTR && errno != EAGAIN) {
      // A closed pipe ends the job as it would end a single process; a vanished terminal is
      // followed by SIGHUP. Either way there is nobody to write to any more.
      has_lost_reader_ = errno == EPIPE;
      is_gone_ = true;
      pending_.clear();
    }
  }

 private:
  int fd_;
  std::string pending_;
  bool is_gone_ = false;
  bool has_lost_reader_ = false;
};

/// One stream of one rank, cut into lines.
struct Source {
  Fd fd;
  std::string prefix;
  Outlet* outlet = nullptr;
  std::string line = {};

  /// Moves what is there to the outlet. Returns the number of bytes, 0 at the end of the stream,
  /// -1 when there is nothing yet.
  ssize_t read_some() {
    std::array<char, 65536> buffer;
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0) return errno == EAGAIN || errno == EINTR ? -1 : 0;
    size_t begin = 0;
    const std::string_view text(buffer.data(), static_cast<size_t>(count));
    for (size_t end; (end = text.find('\n', begin)) != std::string_view::npos; begin = end + 1) {
      line += text.substr(begin, end + 1 - begin);
      flush();
    }
    line += text.substr(begin);
    return count;
  }
  void flush() {
    if (line.empty()) return;
    outlet->add(prefix + line + (line.back() == '\n' ? "" : "\n"));
    line.clear();
  }
};

/// Blocks the signals handled here and gives them as a descriptor; restores everything at the end.
class SignalQueue {
 public:
  SignalQueue() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : kForwardedSignals) sigaddset(&set, signal);
    for (const int signal : kHandledSignals) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, &old_mask_);
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &ignore, &old_pipe_);
    ::signal(SIGCHLD, SIG_DFL);  // where it is inherited as ignored, ends would go unnoticed
    fd_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_.is_open()) throw RunError(system_error_text("signalfd", "open"));
  }
  ~SignalQueue() { restore(); }
  /// Async-signal-safe: also called between fork and exec.
  void restore() const {
    sigaction(SIGPIPE, &old_pipe_, nullptr);
    sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
  }
  int fd() const { return fd_.get(); }
  std::optional<int> next() {
    signalfd_siginfo info;
    if (::read(fd_.get(), &info, sizeof info) != sizeof info) return std::nullopt;
    return static_cast<int>(info.ssi_signo);
  }

 private:
  Fd fd_;
  sigset_t old_mask_;
  struct sigaction old_pipe_;
};

/// What a child needs, made before fork: nothing is allocated between fork and exec.
struct ChildPlan {
  std::vector<std::string> variables;
  std::vector<char*> argv, envp;
  const std::vector<int>* inherited_fds = nullptr;
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1;  // -1: the launcher's own

  ChildPlan(const RankProcess& rank, const std::vector<std::string>& removed)
      : inherited_fds(&rank.inherited_fds) {
    const auto is_replaced = [&](const std::string& name) {
      for (const auto& other : removed) {
        if (name == other) return true;
      }
      for (const auto& [other, value] : rank.environment) {
        if (name == other) return true;
      }
      return false;
    };
    for (char** entry = environ; *entry; ++entry) {
      const std::string text = *entry;
      if (!is_replaced(text.substr(0, text.find('=')))) variables.push_back(text);
    }
    for (const auto& [name, value] : rank.environment) variables.push_back(name + "=" + value);
    for (auto& text : variables) envp.push_back(text.data());
    for (const auto& word : rank.words) argv.push_back(const_cast<char*>(word.c_str()));
    envp.push_back(nullptr);
    argv.push_back(nullptr);
  }
};

/// Between fork and exec: only async-signal-safe calls. Writes errno to `report` when exec fails.
[[noreturn]] void become_rank(const ChildPlan& plan, const RankProcessesOptions& options,
                              const SignalQueue& signals, pid_t launcher, int report) {
  // The kernel ends this process when the launcher dies; it may have died before the request.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launcher) ::_exit(kCannotExecStatus);
  // A group of its own: Ctrl-C reaches the launcher alone, and each rank gets the signal once.
  ::setpgid(0, 0);
  ::signal(SIGTTOU, SIG_IGN);  // a background group may write to a terminal set to `stty tostop`
  if (options.batch_scheduling) {
    const sched_param none = {};
    ::sched_setscheduler(0, SCHED_BATCH, &none);  // a hint: a refusal changes speed only
  }
  const auto replace = [](int fd, int target) {
    if (fd >= 0) ::dup2(fd, target);
  };
  replace(plan.stdin_fd, STDIN_FILENO);
  replace(plan.stdout_fd, STDOUT_FILENO);
  replace(plan.stderr_fd, STDERR_FILENO);
  for (const int fd : *plan.inherited_fds) ::fcntl(fd, F_SETFD, 0);
  signals.restore();
  ::execve(options.program.c_str(), plan.argv.data(), plan.envp.data());
  const int error = errno;
  [[maybe_unused]] const ssize_t written = ::write(report, &error, sizeof error);
  ::_exit(kCannotExecStatus);
}

/// The ranks that run, and how the job is ending.
class Job {
 public:
  explicit Job(const RankProcessesOptions& options)
      : options_(options), out_(STDOUT_FILENO), err_(STDERR_FILENO) {}
  ~Job() { kill_everything(); }

  int run() {
    for (size_t rank = 0; rank < options_.ranks.size(); ++rank) start(rank);
    while (num_running_ > 0) {
      wait_and_relay();
      handle_signals();
      if (out_.has_lost_reader() || err_.has_lost_reader()) end_because_nobody_reads();
      if (kill_time_ && Clock::now() >= *kill_time_) {
        say("ending the ranks that ignored SIGTERM with SIGKILL");
        send_to_all(SIGKILL);
        kill_time_.reset();
      }
    }
    finish_output();
    return status_;
  }

 private:
  void start(size_t rank);
  int add_stream(size_t rank, Outlet& outlet, Fd& write_end);
  void wait_and_relay();
  void handle_signals();
  void reap();
  void note_end(size_t rank, pid_t pid, int wait_status);
  void begin_ending(int status);
  void end_because_nobody_reads();
  void send_to_all(int signal);
  void kill_everything();
  void finish_output();
  void relay(std::vector<pollfd>& fds, int timeout_ms);

  void say(const std::string& text) { err_.add("megalith launch: " + text + "\n"); }

  const RankProcessesOptions& options_;
  SignalQueue signals_;
  Outlet out_, err_;
  std::vector<Source> sources_;
  std::vector<pid_t> pids_;  // 0 once reaped
  size_t num_running_ = 0;
  int status_ = 0;
  bool is_ending_ = false;
  std::optional<Clock::time_point> kill_time_;
};

/// The descriptor a rank writes one stream to, kept open by `write_end`: a pipe relayed here, or -1
/// for the launcher's own. On a terminal rank 0 writes directly, so that its progress line works.
int Job::add_stream(size_t rank, Outlet& outlet, Fd& write_end) {
  if (rank == 0 && options_.prefix != PrefixMode::kAlways && ::isatty(outlet.fd())) return -1;
  const bool with_prefix = options_.prefix != PrefixMode::kNever;
  auto [read_end, other_end] = make_pipe();
  ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  sources_.push_back({std::move(read_end), with_prefix ? fmt::format("[{}] ", rank) : "", &outlet});
  write_end = std::move(other_end);
  return write_end.get();
}

void Job::start(size_t rank) {
  ChildPlan plan(options_.ranks[rank], options_.removed_variables);
  Fd null, out_end, err_end;
  if (rank != 0 || ::isatty(STDIN_FILENO)) {
    null = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    plan.stdin_fd = null.get();
  }
  plan.stdout_fd = add_stream(rank, out_, out_end);
  plan.stderr_fd = add_stream(rank, err_, err_end);

  auto [report_read, report_write] = make_pipe();
  const pid_t launcher = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw RunError(system_error_text(fmt::format("rank {}", rank), "start"));
  if (pid == 0) become_rank(plan, options_, signals_, launcher, report_write.get());
  pids_.push_back(pid);
  ++num_running_;
  ::setpgid(pid, pid);  // also here: whichever side comes first
  for (const int fd : options_.ranks[rank].inherited_fds) ::close(fd);
  report_write.reset();
  int error = 0;
  if (::read(report_read.get(), &error, sizeof error) == sizeof error) {
    errno = error;
    throw RunError(system_error_text(options_.program, "start"));
  }
}

/// Waits for something to happen, at most until the time of SIGKILL.
void Job::wait_and_relay() {
  int timeout_ms = -1;
  if (kill_time_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*kill_time_ - Clock::now());
    timeout_ms = static_cast<int>(std::max<int64_t>(0, left.count()));
  }
  std::vector<pollfd> fds = {{signals_.fd(), POLLIN, 0}};
  relay(fds, timeout_ms);
}

/// One round of poll over `fds` (already holding what the caller waits for), the ranks' streams and
/// the outlets.
void Job::relay(std::vector<pollfd>& fds, int timeout_ms) {
  const size_t first_outlet = fds.size();
  for (Outlet* outlet : {&out_, &err_}) {
    fds.push_back({outlet->is_pending() ? outlet->fd() : -1, POLLOUT, 0});
  }
  const size_t first_source = fds.size();
  for (const auto& source : sources_) {
    const bool is_held_back = source.outlet->is_full() || !source.fd.is_open();
    fds.push_back({is_held_back ? -1 : source.fd.get(), POLLIN, 0});
  }
  if (::poll(fds.data(), fds.size(), timeout_ms) <= 0) return;
  if (fds[first_outlet].revents) out_.write_some();
  if (fds[first_outlet + 1].revents) err_.write_some();
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (!fds[first_source + i].revents) continue;
    if (sources_[i].read_some() != 0) continue;
    sources_[i].flush();
    sources_[i].fd.reset();
  }
}

void Job::handle_signals() {
  while (const auto signal = signals_.next()) {
    if (*signal == SIGCHLD) {
      reap();
    } else if (*signal == SIGTSTP) {
      send_to_all(SIGSTOP);
      ::raise(SIGSTOP);
    } else {
      send_to_all(*signal);
    }
  }
}

void Job::reap() {
  for (size_t rank = 0; rank < pids_.size(); ++rank) {
    const pid_t pid = pids_[rank];
    siginfo_t info = {};
    if (pid == 0 ||
        ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
      continue;
    }
    // What the rank itself has started goes with it. Before reaping: until then nobody else can
    // be given this group's number.
    ::kill(-pid, SIGKILL);
    int wait_status = 0;
    ::waitpid(pid, &wait_status, 0);
    pids_[rank] = 0;
    --num_running_;
    note_end(rank, pid, wait_status);
  }
}

void Job::note_end(size_t rank, pid_t pid, int wait_status) {
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return;
  if (is_ending_) return;  // it ends because we asked it to
  int status = 0;
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    status = kSignalStatus + signal;
    say(fmt::format("rank {} (process {}) was ended by signal {} ({}){}", rank, pid, signal,
                    ::strsignal(signal), num_running_ > 0 ? "; ending the others" : ""));
  } else {
    status = WEXITSTATUS(wait_status);
    say(fmt::format("rank {} (process {}) failed with exit status {}{}", rank, pid, status,
                    num_running_ > 0 ? "; ending the others" : ""));
  }
  begin_ending(status);
}

void Job::begin_ending(int status) {
  is_ending_ = true;
  status_ = status;
  send_to_all(SIGTERM);
  send_to_all(SIGCONT);  // a stopped rank could not act on SIGTERM
  kill_time_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                  std::chrono::duration<double>(options_.grace_seconds));
}

void Job::end_because_nobody_reads() {
  if (is_ending_) return;
  say("the reader of the output is gone; ending the ranks");
  begin_ending(kSignalStatus + SIGPIPE);
}

void Job::send_to_all(int signal) {
  for (const pid_t pid : pids_) {
    if (pid != 0) ::kill(-pid, signal);
  }
}

void Job::kill_everything() {
  send_to_all(SIGKILL);
  for (pid_t& pid : pids_) {
    if (pid != 0) ::waitpid(pid, nullptr, 0);
    pid = 0;
  }
}

/// Passes on what the ranks wrote before they ended: what lies in the pipes now. Does not wait for
/// the end of the streams: a process that left its rank's group may hold them open, or write, for
/// ever.
void Job::finish_output() {
  for (auto& source : sources_) {
    int num_bytes = 0;
    if (!source.fd.is_open() || ::ioctl(source.fd.get(), FIONREAD, &num_bytes) != 0) continue;
    while (num_bytes > 0) {
      const ssize_t count = source.read_some();
      if (count <= 0) break;
      num_bytes -= static_cast<int>(count);
    }
    source.flush();
    source.fd.reset();
  }
  while (out_.is_pending() || err_.is_pending()) {
    std::vector<pollfd> fds = {{signals_.fd(), POLLIN, 0}};
    relay(fds, -1);
    while (const auto signal = signals_.next()) {
      const bool is_impatient = *signal == SIGINT || *signal == SIGTERM || *signal == SIGHUP;
      if (is_impatient) return;
    }
  }
}

}  // namespace

int run_rank_processes(const RankProcessesOptions& options) {
  // Where a standard stream is closed, a pipe would take its number and be lost in the child.
  int fd = 0;
  while ((fd = ::open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO) continue;
  ::close(fd);
  fflush(nullptr);  // or every child would write our pending output once more
  return Job(options).run();
}

}  // namespace megalith::cli
