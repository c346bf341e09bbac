// A signal leaves the memory alone that the interrupted code works on, wherever its stack pointer
// is.
#include "cli/interrupt.hpp"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <vector>

namespace megalith::cli {
namespace {

TEST(Interrupt, SignalSetsTheFlag) {
  const InterruptFlag interrupt;
  EXPECT_FALSE(interrupt.raised());
  ::raise(SIGTERM);
  EXPECT_TRUE(interrupt.raised());
}

#if defined(__x86_64__) && defined(__linux__)

/// Sends the signal to this process while the stack pointer is `top`, as it is in oneDNN's
/// products.
long signal_with_stack_at(char* top, int signal) {
  long result = SYS_kill;
  asm volatile(
      "mov %%rsp, %%rbx\n\t"
      "mov %[top], %%rsp\n\t"
      "syscall\n\t"
      "mov %%rbx, %%rsp"
      : "+a"(result)
      : "D"(static_cast<long>(::getpid())), "S"(static_cast<long>(signal)), [top] "r"(top)
      : "rbx", "rcx", "r11", "memory", "cc");
  return result;
}

TEST(Interrupt, WritesNothingBelowAStackPointerThatIsOnTheHeap) {
  std::vector<char> heap(64 << 10, 'h');
  const InterruptFlag interrupt;
  char* const middle = heap.data() + heap.size() / 2;
  ASSERT_EQ(signal_with_stack_at(middle, SIGTERM), 0);
  EXPECT_TRUE(interrupt.raised());
  EXPECT_EQ(std::count(heap.begin(), heap.end(), 'h'), std::ssize(heap));
}

#endif

}  // namespace
}  // namespace megalith::cli
