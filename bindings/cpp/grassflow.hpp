/**
 * @file grassflow.hpp
 * @brief libgrassflow from C++20: handles that free themselves, exceptions, spans.
 *
 * All inline over grassflow.h, whose rules hold, those about threads included. Option and report
 * structs are the C header's; the options here set themselves up. A call that fails throws
 * grassflow::Error; else nothing throws but an allocation and a caller's own progress function.
 */
#ifndef GRASSFLOW_HPP
#define GRASSFLOW_HPP

#include <grassflow.h>

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace grassflow {

/** @brief What failed or was cancelled: its status, and as what() the library's text. @since 0.1 */
class Error : public std::runtime_error {
 public:
  /** @brief Made by the calls of this header. @param status Not GF_OK. @param text The reason. */
  Error(gf_status status, const std::string& text)
      : std::runtime_error(text.empty() ? gf_status_text(status) : text), status_(status) {}
  /** @brief The status, never a success. @return A negative ::gf_status, or GF_CANCELLED. */
  gf_status status() const noexcept { return status_; }

 private:
  gf_status status_;
};

/** @brief gf_context_options with the defaults set. @since 0.1 */
struct ContextOptions : gf_context_options {
  ContextOptions() { gf_context_options_init(this); }
};

/** @brief gf_model_config with the defaults of a mixer set; vocab_size has none. @since 0.1 */
struct ModelConfig : gf_model_config {
  /** @brief The defaults. @param kind What mixes tokens. */
  explicit ModelConfig(gf_mixer kind) { gf_model_config_init(this, kind); }
  /** @brief grassmann+: gf_model_config_grassmann_plus() over the defaults. @return Its shape. */
  static ModelConfig grassmann_plus() {
    ModelConfig config(GF_MIXER_GRASSMANN);
    gf_model_config_grassmann_plus(&config);
    return config;
  }
};

/** @brief gf_train_options with the defaults set. @since 0.1 */
struct TrainOptions : gf_train_options {
  TrainOptions() { gf_train_options_init(this); }
};

/** @brief Whether special tokens are written. @since 0.1 */
enum class Special : uint32_t {
  keep = 0,            /**< [CLS] and [SEP] around a text; special tokens in decoded text */
  omit = GF_NO_SPECIAL /**< none of them */
};

/** @brief How Trainer::train() ended. @since 0.1 */
enum class Outcome {
  complete, /**< no step is left */
  cancelled /**< the progress function said so; training can go on or be saved */
};

/** @cond */
namespace detail {

template <class Struct>
Struct sized() {
  Struct value = {};
  value.struct_size = sizeof value;
  return value;
}

// A handle and the context that keeps the texts of its errors.
template <class T, void (*Free)(T*)>
class Handle {
 public:
  // create(T** out) returns a gf_status.
  template <class Create>
  Handle(std::shared_ptr<gf_context> context, const Create& create) : context_(std::move(context)) {
    T* made = nullptr;
    check(create(&made));
    handle_.reset(made);
  }
  gf_status check(gf_status status) const {
    if (status < GF_OK) throw Error(status, gf_context_error(context_.get()));
    return status;
  }
  // What a getter of the C header writes.
  template <class Self, class Struct>
  Struct read(gf_status (*getter)(Self*, Struct*)) const {
    auto value = sized<Struct>();
    check(getter(get(), &value));
    return value;
  }
  T* get() const noexcept { return handle_.get(); }
  const std::shared_ptr<gf_context>& context() const noexcept { return context_; }

 private:
  struct Deleter {
    void operator()(T* handle) const noexcept { Free(handle); }
  };
  std::shared_ptr<gf_context> context_;
  std::unique_ptr<T, Deleter> handle_;
};

// Calls fill(T* out, size_t capacity, size_t* count) for the count, then for the values.
template <class Container, class Fill>
Container filled(typename Container::value_type initial, const Fill& fill) {
  size_t count = 0;
  fill(nullptr, 0, &count);
  Container values(count, initial);
  fill(values.data(), values.size(), &count);
  return values;
}

}  // namespace detail
/** @endcond */

/** @brief A device and its threads. A copy is the same context. @since 0.1 */
class Context {
 public:
  /** @brief Opens a device. @param options Which, and how. */
  explicit Context(const ContextOptions& options = {}) {
    gf_context* made = nullptr;
    char text[1024] = "";
    const gf_status status = gf_context_create(&options, &made, text, sizeof text);
    if (status != GF_OK) throw Error(status, text);
    context_.reset(made, gf_context_free);
  }
  /** @brief Such as "cpu, 2 threads, fp32". @return Lives as long as the context. */
  std::string_view description() const { return gf_context_description(get()); }
  /** @brief gf_sample_text(). @param seed Seed. @param length Bytes. @return ASCII. */
  std::string sample_text(uint64_t seed, size_t length) const {
    std::string text(length, '\0');
    check(gf_sample_text(get(), seed, text.data(), length));
    return text;
  }
  /** @brief gf_sample_pairs(). @param seed Seed. @param pairs Lines. @return JSON lines. */
  std::string sample_pairs(uint64_t seed, int64_t pairs) const {
    return detail::filled<std::string>('\0', [&](char* out, size_t capacity, size_t* length) {
      check(gf_sample_pairs(get(), seed, pairs, out, capacity, length));
    });
  }
  /** @brief gf_context_cancel(), from any thread. @param on false: takes a request back. */
  void cancel(bool on = true) const noexcept { gf_context_cancel(get(), on); }
  /** @brief Begins afresh or ends taking the time of every operation. @param on Which of them. */
  void set_profiling(bool on) const { check(gf_context_set_profiling(get(), on)); }
  /** @brief The times taken since profiling began. @return The largest first. */
  std::vector<gf_profile_entry> profile() const {
    const auto fill = [&](gf_profile_entry* out, size_t capacity, size_t* count) {
      check(gf_context_profile(get(), out, capacity, count));
    };
    return detail::filled<std::vector<gf_profile_entry>>(detail::sized<gf_profile_entry>(), fill);
  }
  /** @brief For calls of the C header. @return Not the caller's to free. */
  gf_context* get() const noexcept { return context_.get(); }
  /** @brief What handles made from this context hold. @return Never empty. */
  const std::shared_ptr<gf_context>& shared() const noexcept { return context_; }

 private:
  void check(gf_status status) const {
    if (status < GF_OK) throw Error(status, gf_context_error(get()));
  }
  std::shared_ptr<gf_context> context_;
};

/** @brief Text to ids and back. @since 0.1 */
class Tokenizer {
 public:
  /** @brief gf_tokenizer_load(). @param context Where it belongs. @param name "byte", "gpt2" or
   * "bert". @param directory Holds the vocabulary; not needed for "byte". */
  Tokenizer(const Context& context, const std::string& name,
            const std::filesystem::path& directory = {})
      : handle_(context.shared(), [&](gf_tokenizer** out) {
          return gf_tokenizer_load(context.get(), name.c_str(), directory.c_str(), out);
        }) {}
  /** @brief Which one it is. @return "byte", "gpt2" or "bert". */
  std::string_view name() const { return gf_tokenizer_name(get()); }
  /** @brief Number of ids. @return V. */
  int32_t vocab_size() const { return gf_tokenizer_vocab_size(get()); }
  /** @brief Ids of the tokens that are no text. @return -1 where the vocabulary has none. */
  gf_special_ids special_ids() const { return handle_.read(gf_tokenizer_special_ids); }
  /** @brief The ids of a text. @param text UTF-8. @param special Whether [CLS] and [SEP] stand
   * around it. @return Ids below V. */
  std::vector<int32_t> encode(std::string_view text, Special special = Special::keep) const {
    std::vector<int32_t> ids(text.size() + 2);
    size_t count = 0;
    handle_.check(gf_tokenizer_encode(get(), text.data(), text.size(),
                                      static_cast<uint32_t>(special), ids.data(), ids.size(),
                                      &count));
    ids.resize(count);
    return ids;
  }
  /** @brief `[CLS] a [SEP] b [SEP]`, cut longest-first. @param a First text. @param b Second text.
   * @param max_ids Longest result; 0 for no limit. @param special Whether special tokens are
   * written. @return Ids below V. */
  std::vector<int32_t> encode_pair(const std::string& a, const std::string& b, size_t max_ids = 0,
                                   Special special = Special::keep) const {
    return detail::filled<std::vector<int32_t>>(
        0, [&](int32_t* out, size_t capacity, size_t* count) {
          handle_.check(gf_tokenizer_encode_pair(get(), a.c_str(), b.c_str(),
                                                 static_cast<uint32_t>(special), max_ids, out,
                                                 capacity, count));
        });
  }
  /** @brief The text of ids. @param ids Each below V. @param special As written. @return UTF-8. */
  std::string decode(std::span<const int32_t> ids, Special special = Special::keep) const {
    return detail::filled<std::string>('\0', [&](char* out, size_t capacity, size_t* length) {
      handle_.check(gf_tokenizer_decode(get(), ids.data(), ids.size(),
                                        static_cast<uint32_t>(special), out, capacity, length));
    });
  }
  /** @brief For calls of the C header. @return Not the caller's to free. */
  gf_tokenizer* get() const noexcept { return handle_.get(); }

 private:
  detail::Handle<gf_tokenizer, gf_tokenizer_free> handle_;
};

/** @brief A sequence of ids cut into chunks of equal length. @since 0.1 */
class Dataset {
 public:
  /** @brief From ids in memory, which are copied. @param context Where it belongs. @param ids The
   * text. @param length Ids of a chunk. */
  Dataset(const Context& context, std::span<const int32_t> ids, int32_t length)
      : handle_(context.shared(), [&](gf_dataset** out) {
          return gf_dataset_from_ids(context.get(), ids.data(), ids.size(), length, out);
        }) {}
  /** @brief From a text file. @param context Where it belongs. @param tokenizer Turns text into
   * ids. @param path The file. @param length Ids of a chunk. @param format How rows are treated. */
  Dataset(const Context& context, const Tokenizer& tokenizer, const std::filesystem::path& path,
          int32_t length, gf_text_format format = GF_TEXT_PLAIN)
      : handle_(context.shared(), [&](gf_dataset** out) {
          return gf_dataset_from_text_file(context.get(), tokenizer.get(), path.c_str(), format,
                                           length, out);
        }) {}
  /** @brief A run of its chunks. @param first First one. @param count Chunks. @return The run. */
  Dataset slice(int64_t first, int64_t count) const {
    return Dataset(Native(handle_.context(), [&](gf_dataset** out) {
      return gf_dataset_slice(get(), first, count, out);
    }));
  }
  /** @brief Its sizes. @return In ids and chunks. */
  gf_dataset_info info() const { return handle_.read(gf_dataset_get_info); }
  /** @brief For calls of the C header. @return Not the caller's to free. */
  gf_dataset* get() const noexcept { return handle_.get(); }

 private:
  using Native = detail::Handle<gf_dataset, gf_dataset_free>;
  explicit Dataset(Native handle) : handle_(std::move(handle)) {}
  Native handle_;
};

/** @brief Parameters of one model on a context's device. @since 0.1 */
class Model {
 public:
  /** @brief Fresh weights. @param context Where it belongs. @param config The shape. @param seed
   * Equal seeds give equal weights. */
  Model(const Context& context, const gf_model_config& config, uint64_t seed)
      : handle_(context.shared(), [&](gf_model** out) {
          return gf_model_create(context.get(), &config, seed, out);
        }) {}
  /** @brief From a file of save() or Trainer::save(). @param context Where it belongs. @param path
   * The file. @return The model. */
  static Model load(const Context& context, const std::filesystem::path& path) {
    return Model(Native(context.shared(), [&](gf_model** out) {
      return gf_model_load(context.get(), path.c_str(), out);
    }));
  }
  /** @brief Reads weights of the same shape, such as PyTorch's. @param path The file. */
  void load_weights(const std::filesystem::path& path) {
    handle_.check(gf_model_load_weights(get(), path.c_str()));
  }
  /** @brief Writes weights, configuration and metadata. @param path The file. */
  void save(const std::filesystem::path& path) const {
    handle_.check(gf_model_save(get(), path.c_str()));
  }
  /** @brief The configuration it was made with. @return A copy. */
  gf_model_config config() const { return handle_.read(gf_model_get_config); }
  /** @brief Attaches a text that checkpoints carry. @param key Its name. @param value The text;
   * NULL removes it. */
  void set_metadata(const std::string& key, const char* value) {
    handle_.check(gf_model_set_metadata(get(), key.c_str(), value));
  }
  /** @brief Such a text. @param key Its name. @return Empty when there is none. */
  std::optional<std::string> metadata(const std::string& key) const {
    const char* value = gf_model_metadata(get(), key.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
  }
  /** @brief Names and shapes of the parameters. @return In their fixed order. */
  std::vector<gf_parameter> parameters() const {
    const auto fill = [&](gf_parameter* out, size_t capacity, size_t* count) {
      handle_.check(gf_model_parameters(get(), out, capacity, count));
    };
    return detail::filled<std::vector<gf_parameter>>(detail::sized<gf_parameter>(), fill);
  }
  /** @brief Copies one parameter out. @param name Its name. @param values As many as it has. */
  void read_parameter(const std::string& name, std::span<float> values) const {
    handle_.check(gf_model_read_parameter(get(), name.c_str(), values.data(), values.size()));
  }
  /** @brief Replaces one parameter. @param name Its name. @param values As many as it has. */
  void write_parameter(const std::string& name, std::span<const float> values) {
    handle_.check(gf_model_write_parameter(get(), name.c_str(), values.data(), values.size()));
  }
  /** @brief Logits of every position. @param ids [B, T]. @param batch_size B. @return [B, T, V]. */
  std::vector<float> forward(std::span<const int32_t> ids, int32_t batch_size) const {
    const size_t batches = batch_size > 0 ? static_cast<size_t>(batch_size) : 1;
    if (ids.size() % batches != 0) {
      throw Error(GF_ERROR_INVALID_ARGUMENT, std::to_string(ids.size()) + " ids are not " +
                                                 std::to_string(batches) + " equal sequences");
    }
    std::vector<float> logits(ids.size() * static_cast<size_t>(config().vocab_size));
    handle_.check(gf_model_forward(get(), ids.data(), batch_size,
                                   static_cast<int32_t>(ids.size() / batches), logits.data()));
    return logits;
  }
  /** @brief Mean loss over a dataset. @param dataset Its chunks. @param batch_size Sequences at a
   * time; 0: 32. @return Loss and perplexity; GF_CANCELLED is thrown as an Error. */
  gf_eval_report evaluate(const Dataset& dataset, int32_t batch_size = 0) const {
    auto report = detail::sized<gf_eval_report>();
    const gf_status status = handle_.check(gf_eval(get(), dataset.get(), batch_size, &report));
    if (status == GF_CANCELLED) throw Error(status, "");
    return report;
  }
  /** @brief For calls of the C header. @return Not the caller's to free. */
  gf_model* get() const noexcept { return handle_.get(); }
  /** @brief What handles made from this model hold. @return Never empty. */
  const std::shared_ptr<gf_context>& shared() const noexcept { return handle_.context(); }

 private:
  using Native = detail::Handle<gf_model, gf_model_free>;
  explicit Model(Native handle) : handle_(std::move(handle)) {}
  Native handle_;
};

/** @brief A model in training. @since 0.1 */
class Trainer {
 public:
  /** @brief Allocates all that training needs. @param model Updated by every step; may be used
   * between them. @param dataset Chunks to train on. @param options Optimizer and schedule. */
  Trainer(Model& model, const Dataset& dataset, const TrainOptions& options = {})
      : handle_(model.shared(), [&](gf_trainer** out) {
          return gf_trainer_create(model.get(), dataset.get(), &options, out);
        }) {}
  /** @brief One step. @return Empty when no step was left. */
  std::optional<gf_train_report> step() {
    auto report = detail::sized<gf_train_report>();
    if (handle_.check(gf_train_step(get(), &report)) == GF_END) return std::nullopt;
    return report;
  }
  /** @brief A step that a GPU may finish after the call. @return false: none was left. */
  bool step_without_report() { return handle_.check(gf_train_step(get(), nullptr)) != GF_END; }
  /** @brief All steps that are left. @param progress Called with the report of every step, between
   * calls of the library: it may use the model and throw; a false it returns cancels. @return How
   * it ended. */
  template <std::invocable<const gf_train_report&> Progress>
  Outcome train(Progress&& progress) {
    while (const std::optional<gf_train_report> report = step()) {
      if constexpr (std::is_void_v<std::invoke_result_t<Progress&, const gf_train_report&>>) {
        std::invoke(progress, *report);
      } else if (!std::invoke(progress, *report)) {
        return Outcome::cancelled;
      }
    }
    return Outcome::complete;
  }
  /** @brief Where training stands; waits for steps that are queued. @return A copy. */
  gf_train_state state() const { return handle_.read(gf_trainer_get_state); }
  /** @brief gf_checkpoint_save(). @param path The file. */
  void save(const std::filesystem::path& path) const {
    handle_.check(gf_checkpoint_save(get(), path.c_str()));
  }
  /** @brief gf_checkpoint_load(). @param path The file. */
  void load(const std::filesystem::path& path) {
    handle_.check(gf_checkpoint_load(get(), path.c_str()));
  }
  /** @brief For calls of the C header. @return Not the caller's to free. */
  gf_trainer* get() const noexcept { return handle_.get(); }

 private:
  detail::Handle<gf_trainer, gf_trainer_free> handle_;
};

}  // namespace grassflow

#endif  // GRASSFLOW_HPP
