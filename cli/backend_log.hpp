// How much c10d says by itself. Here and not in the library, since it concerns the whole process.
#pragma once

namespace megalith::cli {

/// c10d warns about a lost connection with a stack trace, before the run's own message that names
/// the rank at fault. Errors only, unless TORCH_CPP_LOG_LEVEL says what to show.
void quiet_backend_log();

}  // namespace megalith::cli
