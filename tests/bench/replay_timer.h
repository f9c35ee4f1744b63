#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <limits>

#include "gpu.h"

namespace gf::cuda::bench {

// Times what is queued on a GPU's stream as it runs in a training step: replayed from a graph.
class ReplayTimer {
 public:
  explicit ReplayTimer(Gpu& gpu) : gpu_(gpu) {
    check(cudaEventCreate(&begin_), "cudaEventCreate");
    check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~ReplayTimer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  ReplayTimer(const ReplayTimer&) = delete;
  ReplayTimer& operator=(const ReplayTimer&) = delete;

  // Microseconds of a call of body: the median of three replays of 4 to 20 calls, fewer of slow
  // ones. Of a body that alone, with its launch, takes more than `worthwhile` that is the time.
  double time(const std::function<void()>& body,
              double worthwhile = std::numeric_limits<double>::infinity()) {
    body();  // loads its kernels, grows the scratch memory
    warm_up(body);
    const double once = between([&] { body(); });
    if (once > worthwhile) return once;
    const int calls = std::clamp(static_cast<int>(1000 / once), 4, 20);
    const Graph graph(gpu_.stream(), body, calls);
    const auto replay = [&] {
      check(cudaGraphLaunch(graph.instance, gpu_.stream()), "cudaGraphLaunch");
    };
    replay();
    std::array<double, 3> us;
    for (double& t : us) t = between(replay) / calls;
    std::sort(us.begin(), us.end());
    return us[1];
  }

 private:
  struct Graph {
    Graph(cudaStream_t stream, const std::function<void()>& body, int calls) {
      check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
            "cudaStreamBeginCapture");
      try {
        for (int i = 0; i < calls; ++i) body();
      } catch (...) {
        cudaStreamEndCapture(stream, &graph);
        if (graph != nullptr) cudaGraphDestroy(graph);
        throw;
      }
      check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
      check(cudaGraphInstantiate(&instance, graph, 0), "cudaGraphInstantiate");
    }
    ~Graph() {
      cudaGraphExecDestroy(instance);
      cudaGraphDestroy(graph);
    }
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    cudaGraph_t graph = nullptr;
    cudaGraphExec_t instance = nullptr;
  };

  // The clock rises under load: the first product is repeated until it has.
  void warm_up(const std::function<void()>& body) {
    using Clock = std::chrono::steady_clock;
    if (is_warm_) return;
    is_warm_ = true;
    for (const auto end = Clock::now() + std::chrono::milliseconds(300); Clock::now() < end;) {
      for (int i = 0; i < 100; ++i) body();
      check(cudaStreamSynchronize(gpu_.stream()), "cudaStreamSynchronize");
    }
  }

  template <class Work>
  double between(const Work& work) {
    check(cudaEventRecord(begin_, gpu_.stream()), "cudaEventRecord");
    work();
    check(cudaEventRecord(end_, gpu_.stream()), "cudaEventRecord");
    check(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin_, end_), "cudaEventElapsedTime");
    return static_cast<double>(ms) * 1e3;
  }

  Gpu& gpu_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  bool is_warm_ = false;
};

}  // namespace gf::cuda::bench
