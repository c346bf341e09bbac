#include "cli/interrupt.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace megalith::cli {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

// A signal handler reaches nothing but a static object; this is the one the program has.
std::atomic<bool> signal_raised = false;
static_assert(std::atomic<bool>::is_always_lock_free);
std::atomic<const char*> signal_notice = "";

/// Only what a signal handler may call.
void raise_flag(int) {
  const int error = errno;
  const char* const notice = signal_notice;
  if (!signal_raised.exchange(true) && *notice != '\0') {
    for (const char* text : {"\nmegalith: ", notice, "\n"}) {
      [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
    }
  }
  errno = error;
}

}  // namespace

InterruptFlag::InterruptFlag(const char* notice) {
  signal_raised = false;
  signal_notice = notice;
  ::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is then an error of the write that meets it
  struct sigaction action {};
  action.sa_handler = raise_flag;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (const int signal : kSignals) {
    struct sigaction before {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);  // nohup stays
  }
}

InterruptFlag::~InterruptFlag() {
  for (const int signal : kSignals) {
    struct sigaction before {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::signal(signal, SIG_DFL);
  }
}

const std::atomic<bool>& InterruptFlag::raised() const { return signal_raised; }

}  // namespace megalith::cli
