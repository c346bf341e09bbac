// All ranks succeed or all fail: how what went wrong on one rank reaches the others.
//
// For work on files, where one rank may meet a full disk or a damaged file and the others do not:
// without it they would wait in the next collective for a peer that has left. Lost peers are the
// collectives' own business.
#pragma once

#include <ATen/core/Tensor.h>

#include <exception>
#include <string>

#include "megalith/parallel/collectives.hpp"
#include "megalith/parallel/process_groups.hpp"

namespace megalith {

/// What the ranks reported.
struct Failures {
  int64_t num_failed = 0;
  std::string text;  // "rank 0: ...; rank 3: ...", the first few; without ranks when one is alone
};

/// Communicates: world, on `device`, every rank must call; `failure` is this rank's, "" for none.
Failures gather_failures(const std::string& failure, const Group& world, at::Device device);

/// What `body` failed with, or "".
template <class Body>
std::string failure_of(const Body& body) {
  try {
    body();
    return "";
  } catch (const std::exception& error) {
    return plain_message(error);
  }
}

/// A token drawn by rank 0, the same on every rank. Communicates: world.
std::string shared_token(const Group& world, at::Device device);

}  // namespace megalith
