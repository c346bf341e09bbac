#include "cli/batch_scheduling.hpp"

#include <sched.h>

namespace megalith::cli {

void use_batch_scheduling() {
  sched_param parameters{};
  ::sched_setscheduler(0, SCHED_BATCH, &parameters);
}

}  // namespace megalith::cli
