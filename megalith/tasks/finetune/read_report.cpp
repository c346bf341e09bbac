#include "megalith/tasks/finetune/read_report.hpp"

#include <algorithm>

namespace megalith {
namespace {

constexpr size_t kMostTold = 10;
constexpr size_t kMostBytes = 60;

}  // namespace

void ReadReport::leave_out(const std::string& reason, const std::string& place) {
  auto found = std::find_if(reasons_.begin(), reasons_.end(),
                            [&](const Reason& known) { return known.text == reason; });
  if (found == reasons_.end()) found = reasons_.insert(reasons_.end(), {.text = reason});
  ++found->count;
  if (found->places.size() < kMostTold) found->places.push_back(place);
}

int64_t ReadReport::num_left_out() const {
  int64_t sum = 0;
  for (const Reason& reason : reasons_) sum += reason.count;
  return sum;
}

int64_t ReadReport::num_left_out(const std::string& reason) const {
  for (const Reason& known : reasons_) {
    if (known.text == reason) return known.count;
  }
  return 0;
}

std::vector<std::string> ReadReport::texts() const {
  std::vector<std::string> texts;
  for (const Reason& reason : reasons_) {
    const auto more = reason.count - static_cast<int64_t>(reason.places.size());
    texts.push_back(fmt::format("{}: left out {} of {}, {}: {}{}", path_, reason.count, num_read_,
                                reason.text, fmt::join(reason.places, ", "),
                                more > 0 ? fmt::format(" and {} more", more) : ""));
  }
  return texts;
}

void FileMistakes::add(const std::string& place, const std::string& what) {
  if (++count_ > static_cast<int64_t>(kMostTold)) return;
  first_.push_back(place.empty() ? fmt::format("{}: {}", path_, what)
                                 : fmt::format("{}: {}: {}", path_, place, what));
}

void FileMistakes::add_to(Problems& problems) const {
  for (const auto& text : first_) problems.add("{}", text);
  const int64_t more = count_ - static_cast<int64_t>(first_.size());
  if (more > 0) problems.add("{}: {} more mistakes", path_, more);
}

void FileMistakes::raise_if_any() const {
  Problems problems;
  add_to(problems);
  problems.raise_if_any();
}

std::string line_place(int64_t line) { return fmt::format("line {}", line); }

std::string shortened(const std::string& text) {
  if (text.size() <= kMostBytes) return "'" + text + "'";
  size_t end = kMostBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return "'" + text.substr(0, end) + "...'";
}

}  // namespace megalith
