#include "cli/interrupt.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

namespace megalith::cli {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

// oneDNN's matrix products move the stack pointer into a buffer on the heap. A handler that ran on
// "the stack" then would write its frame over whatever lies below that buffer, so it has one of its
// own. The system hands a signal to the process's first thread where it can: the one that makes the
// flag.
constexpr size_t kStackBytes = 64 << 10;  // a frame with every register of AVX-512 and AMX: 11 kB
alignas(64) std::array<std::byte, kStackBytes> signal_stack;

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
  stack_t stack{};
  ::sigaltstack(nullptr, &stack);
  if ((stack.ss_flags & SS_DISABLE) != 0) {  // else one is there, the address sanitizer's
    stack = {.ss_sp = signal_stack.data(), .ss_flags = 0, .ss_size = signal_stack.size()};
    ::sigaltstack(&stack, nullptr);
  }
  struct sigaction action {};
  action.sa_handler = raise_flag;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART | SA_ONSTACK);
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
