#include "megalith/parallel/random.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/PhiloxRNGEngine.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <thread>
#include <vector>

namespace megalith {
namespace {

/// The finaliser of splitmix64: every input bit reaches every output bit.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

uint64_t name_key(const std::string& name, int64_t seed) {
  uint64_t key = mix(static_cast<uint64_t>(seed));
  for (const char c : name) key = mix(key ^ static_cast<unsigned char>(c));
  return key;
}

at::Generator generator(uint64_t key, at::Device device) {
  if (device.is_cpu()) return at::make_generator<at::CPUGeneratorImpl>(key);
  at::Generator made = at::globalContext().defaultGenerator(device).clone();
  made.set_current_seed(key);
  return made;
}

/// Four normals from the Philox block `block` by Box and Muller's transform, in double.
void normal_block(uint64_t key, uint64_t block, double (&out)[4]) {
  at::Philox4_32 engine(key, 0, block);
  uint32_t words[4];
  for (auto& word : words) word = engine();
  for (int pair = 0; pair < 2; ++pair) {
    const double u = (words[2 * pair] + 0.5) * 0x1p-32;
    const double angle = 2.0 * std::numbers::pi * (words[2 * pair + 1] + 0.5) * 0x1p-32;
    const double radius = std::sqrt(-2.0 * std::log(u));
    out[2 * pair] = radius * std::cos(angle);
    out[2 * pair + 1] = radius * std::sin(angle);
  }
}

/// Global index of the first element of each contiguous run of the box, run after run.
struct Runs {
  explicit Runs(const Box& box) : box_(box) {
    // Trailing dims that are whole join the run.
    size_t dim = box.length.size();
    length = 1;
    while (dim > 0) {
      --dim;
      length *= box.length[dim];
      if (box.length[dim] != box.global_shape[dim]) break;
    }
    outer_ = dim;
    count = box.num_elements() / std::max<int64_t>(length, 1);
  }
  int64_t first(int64_t run) const {
    int64_t index = 0, stride = 1, rest = run;
    for (size_t dim = box_.length.size(); dim-- > 0;) {
      int64_t at = box_.offset[dim];
      if (dim < outer_) {
        at += rest % box_.length[dim];
        rest /= box_.length[dim];
      }
      index += at * stride;
      stride *= box_.global_shape[dim];
    }
    return index;
  }
  int64_t length = 0, count = 0;

 private:
  const Box& box_;
  size_t outer_ = 0;
};

template <class Scalar>
void fill_some_runs(Scalar* out, const Runs& runs, uint64_t key, double std, int64_t begin,
                    int64_t end) {
  double normals[4];
  for (int64_t run = begin; run < end; ++run) {
    const int64_t first = runs.first(run);
    int64_t block = -1;
    for (int64_t i = 0; i < runs.length; ++i) {
      const int64_t index = first + i;
      if (index / 4 != block) {
        block = index / 4;
        normal_block(key, static_cast<uint64_t>(block), normals);
      }
      out[run * runs.length + i] = static_cast<Scalar>(std * normals[index % 4]);
    }
  }
}

/// Shares the rows of a large box among plain threads: at::parallel_for would need OpenMP here.
template <class Scalar>
void fill_runs(Scalar* out, const Box& box, uint64_t key, double std) {
  Box by_row = box;
  const int64_t row = box.num_elements() / std::max<int64_t>(1, box.length[0]);
  constexpr int64_t kWorthAThread = 1 << 18;
  const int64_t threads =
      std::clamp<int64_t>(box.num_elements() / kWorthAThread, 1,
                          std::min<int64_t>(at::get_num_threads(), box.length[0]));
  std::vector<std::thread> workers;
  for (int64_t t = 0; t < threads; ++t) {
    const int64_t begin = box.length[0] * t / threads, end = box.length[0] * (t + 1) / threads;
    by_row.offset[0] = box.offset[0] + begin;
    by_row.length[0] = end - begin;
    workers.emplace_back([=] {
      const Runs runs(by_row);
      fill_some_runs(out + begin * row, runs, key, std, 0, runs.count);
    });
  }
  for (auto& worker : workers) worker.join();
}

}  // namespace

uint64_t mix_key(std::initializer_list<int64_t> words) {
  uint64_t key = 0;
  for (const int64_t word : words) key = mix(key ^ static_cast<uint64_t>(word));
  return key;
}

at::Generator shared_generator(const StepKey& key, int64_t layer, RandomSite site,
                               at::Device device) {
  return generator(mix_key({key.seed, key.iteration, key.micro_batch, layer,
                            static_cast<int64_t>(site), key.data_rank}),
                   device);
}

at::Generator own_generator(const StepKey& key, int64_t layer, RandomSite site, at::Device device) {
  return generator(mix_key({key.seed, key.iteration, key.micro_batch, layer,
                            static_cast<int64_t>(site), key.data_rank, key.tensor_rank}),
                   device);
}

void fill_normal(at::Tensor& local, const Box& box, int64_t seed, double std) {
  TORCH_CHECK(
      local.is_contiguous() && local.device().is_cpu() && local.numel() == box.num_elements(),
      "fill_normal: local tensor does not fit the box of ", box.name);
  const uint64_t key = name_key(box.name, seed);
  if (local.scalar_type() == at::kDouble) {
    fill_runs(local.mutable_data_ptr<double>(), box, key, std);
  } else {
    at::Tensor exact =
        local.scalar_type() == at::kFloat ? local : at::empty(local.sizes(), at::kFloat);
    fill_runs(exact.mutable_data_ptr<float>(), box, key, std);
    if (!exact.is_same(local)) local.copy_(exact);
  }
}

double keyed_uniform(std::initializer_list<int64_t> words) {
  return static_cast<double>(mix_key(words) >> 11) * 0x1p-53;
}

}  // namespace megalith
