#include "cli/interrupt.hpp"

#include <array>
#include <csignal>

namespace megalith::cli {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

// A signal handler reaches nothing but a static object; this is the one the program has.
std::atomic<bool> signal_raised = false;
static_assert(std::atomic<bool>::is_always_lock_free);

}  // namespace

InterruptFlag::InterruptFlag() {
  signal_raised = false;
  ::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is then an error of the write that meets it
  struct sigaction action {};
  action.sa_handler = [](int) { signal_raised = true; };
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
