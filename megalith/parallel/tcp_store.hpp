// Opens the store of a run, and says so when its port belongs to another program.
//
// c10d's own client waits without limit for a program that takes the connection and never answers;
// here the wait ends with the options' time-out. Whose store it is, and which keys, is not known
// here: see distributed.hpp.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <string>

namespace c10d {
class Store;
struct TCPStoreOptions;
}  // namespace c10d

namespace megalith {

/// Throws RunError when the port is taken, or when what listens there is no store; c10::Error when
/// nobody listens.
c10::intrusive_ptr<c10d::Store> open_tcp_store(const std::string& host,
                                               const c10d::TCPStoreOptions& options);

}  // namespace megalith
