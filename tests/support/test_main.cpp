// The main of every test binary.
//
// Batch scheduling: under the default policy threads that hand work to each other on few cores wait
// whole scheduler slices (gloo's event thread most of all). It needs no privilege and children
// inherit it.
#include <gtest/gtest.h>
#include <sched.h>

int main(int argc, char** argv) {
  sched_param parameters{};
  sched_setscheduler(0, SCHED_BATCH, &parameters);  // only speed depends on it
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
