#include "megalith/pipeline/schedule.hpp"

namespace megalith {

Schedule single_stage_schedule(int64_t num_micro_batches) {
  Schedule schedule;
  for (int64_t m = 0; m < num_micro_batches; ++m) {
    schedule.push_back({Action::Kind::kForward, m});
    schedule.push_back({Action::Kind::kBackward, m});
  }
  return schedule;
}

std::string schedule_text(const Schedule& schedule) {
  std::string text;
  for (const auto& action : schedule) {
    text += text.empty() ? "" : " ";
    text +=
        (action.kind == Action::Kind::kForward ? "F" : "B") + std::to_string(action.micro_batch);
  }
  return text;
}

void execute(const Schedule& schedule, const StageActions& actions) {
  for (const auto& action : schedule) {
    const auto& run = action.kind == Action::Kind::kForward ? actions.forward : actions.backward;
    run(action.micro_batch);
  }
}

}  // namespace megalith
