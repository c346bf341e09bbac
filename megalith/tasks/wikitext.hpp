// WikiText-103 as the paper evaluates it (appendix E): the tokenised file is turned back into
// ordinary text by wikitext_text.hpp, and the perplexity is counted per word of the original.
#pragma once

#include <cstdint>

#include "megalith/tasks/perplexity.hpp"
#include "megalith/tasks/wikitext_text.hpp"

namespace megalith {

/// tokens, original_tokens, token_ratio, loss, perplexity, word_perplexity, adjusted_perplexity.
void add_wikitext(Report& report, const PerplexitySums& sums, int64_t original_tokens);

}  // namespace megalith
