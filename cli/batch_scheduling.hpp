// The scheduling policy of ranks that share a machine. Here and not in the library, since it
// concerns the whole process.
#pragma once

namespace megalith::cli {

/// Under the default policy gloo's event thread and its user wait out each other's time slices,
/// which makes small collectives 10 to 100 times slower. Needs no privilege; threads and children
/// inherit it.
void use_batch_scheduling();

}  // namespace megalith::cli
