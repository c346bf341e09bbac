#include "cli/process_settings.hpp"

#include <malloc.h>
#include <sched.h>

namespace megalith::cli {

void use_batch_scheduling() {
  sched_param parameters{};
  ::sched_setscheduler(0, SCHED_BATCH, &parameters);
}

void keep_freed_memory() {
#ifdef __GLIBC__
  ::mallopt(M_MMAP_MAX, 0);         // large blocks come from the heap too,
  ::mallopt(M_TRIM_THRESHOLD, -1);  // and the heap never shrinks
#endif
}

}  // namespace megalith::cli
