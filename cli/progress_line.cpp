#include "cli/progress_line.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>

#include "megalith/core/error.hpp"

namespace megalith::cli {
namespace {

constexpr auto kRedrawInterval = std::chrono::milliseconds(200);
constexpr size_t kUsualWidth = 80;

size_t terminal_width() {
  struct winsize size {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

}  // namespace

ProgressLine::ProgressLine() : on_terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() { clear(); }

bool ProgressLine::due() const {
  return on_terminal_ && std::chrono::steady_clock::now() - last_shown_ >= kRedrawInterval;
}

void ProgressLine::show(const std::string& text) {
  clear();
  fmt::print(stderr, "{}", text.substr(0, terminal_width() - 1));
  std::fflush(stderr);
  shown_ = true;
  last_shown_ = std::chrono::steady_clock::now();
}

void ProgressLine::print(const std::string& text) {
  clear();
  fmt::print(stderr, "{}\n", text);
}

void ProgressLine::clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
  shown_ = false;
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min", whole / 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

RowProgress::RowProgress(std::string verb, std::string unit, bool silent)
    : verb_(std::move(verb)),
      unit_(std::move(unit)),
      silent_(silent),
      start_(std::chrono::steady_clock::now()),
      last_log_(start_) {}

void RowProgress::tell(int64_t done, int64_t all) {
  constexpr double kLongestSilence = 60;
  const auto seconds_since = [](std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  if (silent_ || done == all) return;
  const bool log_now = !line_.on_terminal() &&
                       (done * 10 / all > tenth_ || seconds_since(last_log_) >= kLongestSilence);
  if (!log_now && !line_.due()) return;
  const double passed = seconds_since(start_);
  const double share = static_cast<double>(done) / static_cast<double>(all);
  const std::string text = fmt::format("{} of {} {}, {:.0f}%, {} left", done, all, unit_,
                                       100 * share, duration_text(passed * (1 - share) / share));
  if (log_now) {
    line_.print(verb_ + " " + text);
    tenth_ = done * 10 / all;
    last_log_ = std::chrono::steady_clock::now();
  } else {
    line_.show(text);
  }
}

}  // namespace megalith::cli
