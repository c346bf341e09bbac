// The flags that `megalith data index` and `data samples` share: those of pretrain, so that a run's
// own words give the run's own order; flags that have no say in it are taken in silence.
#pragma once

#include <optional>
#include <string>

#include "cli/command_line.hpp"
#include "megalith/data/build_datasets.hpp"
#include "megalith/training/run_config.hpp"

namespace megalith::cli {

struct OrderFlags {
  RunConfig config;
  DatasetKind kind = DatasetKind::kGpt;
  BertDataConfig bert;
  std::optional<std::string> num_samples;

  void add_to(CommandLine& line);
  /// Throws UsageError listing every mistake. `line` has been parsed.
  DatasetRequest request(const CommandLine& line) const;

 private:
  SampleCounts counts(Problems& problems) const;
  SampleCounts counts_given(Problems& problems) const;
  int64_t iterations() const;
  void check_kind(const CommandLine& line, Problems& problems) const;
  void take_tokenizer(DatasetRequest& request) const;
};

}  // namespace megalith::cli
