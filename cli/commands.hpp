// The subcommands of the one binary, one file each. Every function takes the words after its own
// name and returns the exit status; UsageError and RunError are turned into messages in main.cpp.
#pragma once

#include <string>
#include <vector>

namespace megalith::cli {

using Words = std::vector<std::string>;

int run_checkpoint(const Words& words);
int run_checkpoint_convert(const Words& words);
int run_checkpoint_diff(const Words& words);
int run_checkpoint_inspect(const Words& words);
int run_checkpoint_list(const Words& words);
int run_data(const Words& words);
int run_data_index(const Words& words);
int run_data_samples(const Words& words);
int run_doctor(const Words& words);
int run_embed(const Words& words);
int run_export_hf(const Words& words);
int run_evaluate(const Words& words);
int run_evaluate_classification(const Words& words);
int run_evaluate_contamination(const Words& words);
int run_evaluate_finetuned_choices(const Words& words);
int run_evaluate_lambada(const Words& words);
int run_evaluate_mnli(const Words& words);
int run_evaluate_multiple_choice(const Words& words);
int run_evaluate_perplexity(const Words& words);
int run_evaluate_qqp(const Words& words);
int run_evaluate_race(const Words& words);
int run_evaluate_squad(const Words& words);
int run_evaluate_wikitext103(const Words& words);
int run_finetune(const Words& words);
int run_generate(const Words& words);
int run_import_hf(const Words& words);
int run_launch(const Words& words);
int run_preprocess(const Words& words);
int run_pretrain(const Words& words);
int run_tokenize(const Words& words);

}  // namespace megalith::cli
