// WikiText-103 as the paper evaluates it (appendix E): the tokenised file is turned back into
// ordinary text, and the perplexity is counted per word of the original.
//
// The rules undo how the file was tokenised: separators in numbers and compounds (@-@ @,@ @.@),
// spaces around punctuation, brackets and quotes, headings, contractions. They are upstream's, in
// upstream's order, because the published counts depend on them: 245,566 words and 270,330 GPT-2
// tokens of the test file. The whole file is one text and nothing is stripped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "megalith/tasks/perplexity.hpp"

namespace megalith {

/// The text as it was before it was tokenised into words.
std::string detokenize_wikitext(std::string text);

/// The paper's T_o: parts of the stripped text between single spaces.
int64_t count_original_tokens(std::string_view text);

/// tokens, original_tokens, token_ratio, loss, perplexity, word_perplexity, adjusted_perplexity.
void add_wikitext(Report& report, const PerplexitySums& sums, int64_t original_tokens);

}  // namespace megalith
