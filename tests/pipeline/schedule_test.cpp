// A schedule is tested as data before it is run.
#include "megalith/pipeline/schedule.hpp"

#include <gtest/gtest.h>

namespace megalith {
namespace {

TEST(SingleStageSchedule, RunsEveryMicroBatchOnceEachWayWithOneInFlight) {
  EXPECT_EQ(schedule_text(single_stage_schedule(3)), "F0 B0 F1 B1 F2 B2");
  EXPECT_TRUE(single_stage_schedule(0).empty());
  int64_t in_flight = 0;
  for (const auto& action : single_stage_schedule(5)) {
    in_flight += action.kind == Action::Kind::kForward ? 1 : -1;
    EXPECT_GE(in_flight, 0);
    EXPECT_LE(in_flight, 1);
  }
  EXPECT_EQ(in_flight, 0);
}

TEST(Execute, FollowsTheTable) {
  std::string order;
  execute({{Action::Kind::kForward, 1}, {Action::Kind::kForward, 0}, {Action::Kind::kBackward, 1}},
          {.forward = [&](int64_t m) { order += "f" + std::to_string(m); },
           .backward = [&](int64_t m) { order += "b" + std::to_string(m); }});
  EXPECT_EQ(order, "f1f0b1");
}

}  // namespace
}  // namespace megalith
