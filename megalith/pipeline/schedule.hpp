// The order in which a stage runs its micro-batches, as a table one can print and test.
//
// With one stage the schedule is the micro-batch loop; several stages will be other tables for the
// same executor. Touches no torch type.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace megalith {

struct Action {
  enum class Kind { kForward, kBackward } kind;
  int64_t micro_batch;
  bool operator==(const Action&) const = default;
};

using Schedule = std::vector<Action>;

/// One stage: forward and backward of each micro-batch in turn, so one is in flight.
Schedule single_stage_schedule(int64_t num_micro_batches);

/// "F0 B0 F1 B1"
std::string schedule_text(const Schedule& schedule);

/// What a stage does with a micro-batch.
struct StageActions {
  std::function<void(int64_t micro_batch)> forward;
  std::function<void(int64_t micro_batch)> backward;
};

/// Runs the table in order.
void execute(const Schedule& schedule, const StageActions& actions);

}  // namespace megalith
