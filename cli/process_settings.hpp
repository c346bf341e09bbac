// What a rank asks of the system for its whole process. Here and not in the library, since a
// library has no business with it.
#pragma once

namespace megalith::cli {

/// Under the default policy gloo's event thread and its user wait out each other's time slices,
/// which makes small collectives 10 to 100 times slower. Needs no privilege; threads and children
/// inherit it.
void use_batch_scheduling();

/// A training step frees and asks for the same tensors again and again. By default large ones go
/// back to the kernel each time, and clearing their pages anew costs up to half of a step; after
/// this call they stay with the process. Nothing where the C library is not glibc.
void keep_freed_memory();

}  // namespace megalith::cli
