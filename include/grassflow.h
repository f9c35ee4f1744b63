/**
 * @file grassflow.h
 * @brief libgrassflow: train and evaluate small language models from C.
 *
 * Two models of one size stand side by side: the attention-free Grassmann-flow model (Pluecker
 * coordinates of token pairs in place of attention, arXiv 2512.19428) and a transformer.
 *
 * ## The simple way
 * One context, one tokenizer, one dataset, one model, one trainer; then gf_train_step() until you
 * are content, gf_eval(), gf_model_save(). examples/train_text.c does it in 60 lines.
 *
 * ## Rules that hold everywhere
 * - Every call that can fail returns a ::gf_status. On failure the text, which names the file,
 * line, option or size at fault, stands on the context: gf_context_error(). Out-parameters are
 * untouched.
 * - Handles are opaque. What `_create`, `_load` or `_from_...` returns is the caller's, who ends it
 *   with the `_free` of its type; `_free(NULL)` does nothing. A handle keeps what it was made from
 *   alive: free them in any order.
 * - Option structs are set up by their `_init`, which fills in `struct_size` and the defaults; they
 *   grow at their end in later versions, and callers and libraries of different versions go on
 *   working together: docs/guide/abi.md. Bindings that do not read this header call the function
 *   that `_init` stands for, `_init_sized`, with the size of their own struct.
 * - A handle and all that came from the same context belong to one thread at a time. Different
 *   contexts are independent and may run in different threads at once. gf_context_error(),
 *   gf_context_cancel() and gf_status_name() may be called from any thread.
 * - After fork() the child may exec, or go on without the handles from before. Every handle is to
 *   be freed before dlclose(). docs/guide/threads.md has the details.
 * - The library never exits, aborts or prints, and owns no global state.
 * - Strings are UTF-8 and zero-terminated unless a length stands beside them. Ids are int32_t.
 *   Matrices are row-major, their shapes given outermost first.
 *
 * Symbols used for shapes: B sequences, T tokens of one sequence, L the longest sequence, D model
 * width, r reduced width, V vocabulary, F feed-forward width, H heads, N layers.
 */
#ifndef GRASSFLOW_H
#define GRASSFLOW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** @brief Version of this header: major * 10000 + minor * 100 + patch. @since 0.1 */
#define GF_VERSION 100

/** @brief Marks what the shared library exports. @since 0.1 */
#if defined(__GNUC__) || defined(__clang__)
#define GF_API __attribute__((visibility("default")))
#else
#define GF_API
#endif

/**
 * @name Status
 * @{
 */

/**
 * @brief The table of status codes: X(enumerator, value, text). Values never change.
 * @since 0.1
 */
#define GF_STATUS_TABLE(X)                                        \
  X(GF_OK, 0, "success")                                          \
  X(GF_CANCELLED, 1, "cancelled by the caller")                   \
  X(GF_END, 2, "training is complete: no step is left")           \
  X(GF_ERROR_INVALID_ARGUMENT, -1, "invalid argument")            \
  X(GF_ERROR_OUT_OF_MEMORY, -2, "out of memory")                  \
  X(GF_ERROR_NOT_FOUND, -3, "file or name not found")             \
  X(GF_ERROR_IO, -4, "reading or writing failed")                 \
  X(GF_ERROR_FORMAT, -5, "file is damaged or of another format")  \
  X(GF_ERROR_MISMATCH, -6, "file and configuration do not agree") \
  X(GF_ERROR_NOT_FINITE, -7, "loss or gradient is not finite")    \
  X(GF_ERROR_DEVICE, -8, "device is missing or failed")           \
  X(GF_ERROR_UNSUPPORTED, -9, "not supported by this build")      \
  X(GF_ERROR_INTERNAL, -10, "internal error: please report it")

/** @brief Outcome of a call: 0 is success, positive values are not failures, negative ones are.
 * @since 0.1 */
typedef enum gf_status {
#define GF_STATUS_ENUMERATOR(name, value, text) name = value,
  GF_STATUS_TABLE(GF_STATUS_ENUMERATOR)
#undef GF_STATUS_ENUMERATOR
      GF_STATUS_INT = 0x7fffffff /**< no value: lets the type hold any int, so that a wrong one can
                                    be refused */
} gf_status;

/**
 * @brief The enumerator's name, such as "GF_ERROR_IO".
 * @param status Any value.
 * @return A static string; "GF_ERROR_UNKNOWN" for a value that is none of the table's.
 * @since 0.1
 */
GF_API const char* gf_status_name(gf_status status);

/**
 * @brief What a status means, in a few words.
 * @param status Any value.
 * @return A static string.
 * @since 0.1
 */
GF_API const char* gf_status_text(gf_status status);

/**
 * @brief Version of the library that runs, in the form of ::GF_VERSION.
 * @return For example 100 for 0.1.0.
 * @since 0.1
 */
GF_API int gf_version(void);

/**
 * @brief Version of the library that runs, as text.
 * @return A static string such as "0.1.0".
 * @since 0.1
 */
GF_API const char* gf_version_string(void);

/** @} */

/**
 * @name Context: the device, its threads, the error text
 * @{
 */

/** @brief Owner of a device, its threads and the text of the last error. @since 0.1 */
typedef struct gf_context gf_context;

/** @brief Severity of a log line. @since 0.1 */
typedef enum gf_log_level { GF_LOG_DEBUG = 0, GF_LOG_INFO = 1, GF_LOG_WARNING = 2 } gf_log_level;

/**
 * @brief Receives a log line, without a line end; the text lives until the callback returns.
 * @since 0.1
 */
typedef void (*gf_log_fn)(gf_log_level level, const char* text, void* user);

/**
 * @brief Allocates @p bytes aligned to @p alignment (a power of two); NULL when there is no memory.
 * @since 0.1
 */
typedef void* (*gf_allocate_fn)(size_t bytes, size_t alignment, void* user);

/** @brief Releases what the matching ::gf_allocate_fn returned. @since 0.1 */
typedef void (*gf_release_fn)(void* memory, size_t bytes, void* user);

/** @brief How a context is set up. @since 0.1 */
typedef struct gf_context_options {
  size_t struct_size; /**< set by gf_context_options_init() */
  const char* device; /**< "cpu" (default), "cuda", "cuda:N", or "auto": a GPU if there is one, else
                         the CPU (the log says at GF_LOG_DEBUG why) */
  const char*
      precision;   /**< of matrix products: "fp32", "bf16" (GPU only); NULL: the device's default */
  int32_t threads; /**< CPU threads; 0 (default): one per core this process may run on */
  gf_log_fn log;   /**< NULL (default): no log */
  void* log_user;  /**< handed to log */
  gf_allocate_fn
      allocate; /**< for the large buffers in host memory; NULL (default): the C library's */
  gf_release_fn release; /**< goes with allocate */
  void* allocator_user;  /**< handed to both */
  const char* attention; /**< on a GPU in bf16: "own" kernels, or "cudnn" to compare; NULL: "own" */
} gf_context_options;

/**
 * @brief Fills in the defaults, in a struct of the caller's size.
 * @param options Struct to set up.
 * @param struct_size Its size, by the header that the caller was compiled with. What this version
 *   does not know of it becomes zero, which is unset.
 * @since 0.1
 */
GF_API void gf_context_options_init_sized(gf_context_options* options, size_t struct_size);

/** @brief Fills in the defaults. @param options Struct to set up. @since 0.1 */
static inline void gf_context_options_init(gf_context_options* options) {
  gf_context_options_init_sized(options, sizeof *options);
}

/**
 * @brief Creates a context.
 * @param options NULL for the defaults.
 * @param out Receives the context; end it with gf_context_free().
 * @param error There being no context yet to keep it, receives the text of a failure,
 *   zero-terminated and cut to fit; may be NULL.
 * @param error_size Bytes in @p error.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (an unknown device or precision, a negative thread
 *   count); GF_ERROR_DEVICE (no such GPU, no driver or one that is too old);
 *   GF_ERROR_UNSUPPORTED (the CUDA library is missing or of another build; bf16 on the CPU);
 *   GF_ERROR_OUT_OF_MEMORY.
 * @since 0.1
 */
GF_API gf_status gf_context_create(const gf_context_options* options, gf_context** out, char* error,
                                   size_t error_size);

/**
 * @brief Frees a context. Handles made from it stay valid and keep its device alive.
 * @param context May be NULL.
 * @since 0.1
 */
GF_API void gf_context_free(gf_context* context);

/**
 * @brief Text of the last failure of any call on this context or on a handle made from it.
 * @param context The context.
 * @return "" when nothing has failed. Valid until the next failing call.
 * @since 0.1
 */
GF_API const char* gf_context_error(const gf_context* context);

/**
 * @brief What the context runs on, for people, such as "cpu, 2 threads, fp32".
 * @param context The context.
 * @return Valid as long as the context.
 * @since 0.1
 */
GF_API const char* gf_context_description(const gf_context* context);

/**
 * @brief Asks for an early end of the evaluation under way on a context, or of the next one; or
 *   takes such a request back.
 *
 * Where it has been asked for, gf_eval() begins no further batch and returns GF_CANCELLED, its
 * out-parameter untouched; that settles the request, and all handles can be used as before. A
 * request made while no evaluation is under way waits for one. Training steps take no notice: a
 * step is short, and its progress callback ends training.
 *
 * May be called at any time from any thread and from a signal handler, as long as the context is
 * not freed meanwhile. It cannot fail and only sets a flag.
 * @param context May be NULL, which does nothing.
 * @param on Not 0: ask; 0: take back what was asked for and no evaluation has settled yet, as after
 *   one that came to its end at the moment of the request.
 * @since 0.1
 */
GF_API void gf_context_cancel(gf_context* context, int on);

/** @brief Time of one kind of operation. @since 0.1 */
typedef struct gf_profile_entry {
  size_t struct_size; /**< set by the caller to sizeof(gf_profile_entry) */
  char name[48];      /**< such as "linear_backward" */
  int64_t calls;      /**< how often it ran */
  double seconds;     /**< in all; on a GPU by its own clock */
} gf_profile_entry;

/**
 * @brief Begins or ends taking the time of every operation on a context's device.
 *
 * While it is on, a GPU runs operation by operation instead of whole recorded steps, which costs a
 * little time between operations, none of it counted. Results do not change.
 * @param context The context.
 * @param on Not 0: begin afresh; 0: end.
 * @return GF_OK.
 * @since 0.1
 */
GF_API gf_status gf_context_set_profiling(gf_context* context, int on);

/**
 * @brief The times taken since profiling began, the largest first.
 * @param context The context.
 * @param out Receives the first @p capacity entries; may be NULL when capacity is 0. The first
 *   entry's struct_size must be set and counts for all.
 * @param capacity Room in @p out.
 * @param count Receives the number of entries.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT; GF_ERROR_DEVICE.
 * @since 0.1
 */
GF_API gf_status gf_context_profile(gf_context* context, gf_profile_entry* out, size_t capacity,
                                    size_t* count);

/** @} */

/**
 * @name Tokenizers
 * @{
 */

/** @brief Text to ids and back; never changes once loaded. @since 0.1 */
typedef struct gf_tokenizer gf_tokenizer;

/** @brief Ids of the tokens that are no text; -1 where the vocabulary has none. @since 0.1 */
typedef struct gf_special_ids {
  size_t struct_size; /**< set by the caller to sizeof(gf_special_ids) */
  int32_t pad;        /**< [PAD] */
  int32_t unknown;    /**< [UNK] */
  int32_t begin;      /**< [CLS] */
  int32_t separator;  /**< [SEP] */
  int32_t end;        /**< <|endoftext|> */
} gf_special_ids;

/**
 * @brief Loads a tokenizer.
 * @param context Where errors go.
 * @param name "byte" (256 ids, no files), "gpt2" (byte-level BPE) or "bert" (uncased WordPiece).
 * @param directory Holds gpt2/{vocab.json,merges.txt} or bert-base-uncased/vocab.txt, or the files
 *   themselves; ignored for "byte" and may then be NULL.
 * @param out Receives the tokenizer; end it with gf_tokenizer_free().
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (unknown name); GF_ERROR_NOT_FOUND; GF_ERROR_FORMAT
 *   (file and line).
 * @since 0.1
 */
GF_API gf_status gf_tokenizer_load(gf_context* context, const char* name, const char* directory,
                                   gf_tokenizer** out);

/** @brief Frees a tokenizer. @param tokenizer May be NULL. @since 0.1 */
GF_API void gf_tokenizer_free(gf_tokenizer* tokenizer);

/** @brief "byte", "gpt2" or "bert". @param tokenizer The tokenizer. @return A static string. @since
 * 0.1 */
GF_API const char* gf_tokenizer_name(const gf_tokenizer* tokenizer);

/** @brief Number of ids: valid ones are 0 to this less one. @param tokenizer The tokenizer. @return
 * V. @since 0.1 */
GF_API int32_t gf_tokenizer_vocab_size(const gf_tokenizer* tokenizer);

/**
 * @brief Ids of the tokens that are no text.
 * @param tokenizer The tokenizer.
 * @param out Filled in; its struct_size must be set.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_tokenizer_special_ids(const gf_tokenizer* tokenizer, gf_special_ids* out);

/** @brief Flags of gf_tokenizer_encode() and gf_tokenizer_decode(). @since 0.1 */
enum {
  GF_NO_SPECIAL =
      1 /**< encode: no [CLS] and [SEP] around the text; decode: leave special tokens out */
};

/**
 * @brief Encodes one text.
 *
 * Call it with capacity 0 to learn the count, or with a buffer of @p length + 2 ids, which always
 * suffices.
 * @param tokenizer The tokenizer.
 * @param text UTF-8, @p length bytes; may hold zero bytes. Ill-formed UTF-8 is no error: GPT-2 and
 *   byte work on bytes, BERT drops it.
 * @param length Bytes of text.
 * @param flags 0 or ::GF_NO_SPECIAL.
 * @param ids Receives the first @p capacity ids; may be NULL when capacity is 0.
 * @param capacity Room in @p ids.
 * @param count Receives the number of ids of the whole text, which may exceed capacity.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT; GF_ERROR_OUT_OF_MEMORY.
 * @since 0.1
 */
GF_API gf_status gf_tokenizer_encode(const gf_tokenizer* tokenizer, const char* text, size_t length,
                                     uint32_t flags, int32_t* ids, size_t capacity, size_t* count);

/**
 * @brief Encodes a pair as `[CLS] a [SEP] b [SEP]`, cut longest-first to @p max_ids.
 * @param tokenizer The tokenizer.
 * @param a First text, zero-terminated.
 * @param b Second text, zero-terminated.
 * @param flags 0 or ::GF_NO_SPECIAL.
 * @param max_ids Longest result; 0 for no limit.
 * @param ids Receives the first @p capacity ids; may be NULL when capacity is 0.
 * @param capacity Room in @p ids.
 * @param count Receives the number of ids.
 * @return As gf_tokenizer_encode().
 * @since 0.1
 */
GF_API gf_status gf_tokenizer_encode_pair(const gf_tokenizer* tokenizer, const char* a,
                                          const char* b, uint32_t flags, size_t max_ids,
                                          int32_t* ids, size_t capacity, size_t* count);

/**
 * @brief The text that ids stand for.
 * @param tokenizer The tokenizer.
 * @param ids @p count ids.
 * @param count Number of ids.
 * @param flags 0 or ::GF_NO_SPECIAL.
 * @param text Receives the first @p capacity bytes, without a terminating zero; may be NULL when
 *   capacity is 0.
 * @param capacity Room in @p text.
 * @param length Receives the bytes of the whole text, which may exceed capacity.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (names the first id outside the vocabulary).
 * @since 0.1
 */
GF_API gf_status gf_tokenizer_decode(const gf_tokenizer* tokenizer, const int32_t* ids,
                                     size_t count, uint32_t flags, char* text, size_t capacity,
                                     size_t* length);

/** @} */

/**
 * @name Datasets: chunks of L ids, or labelled pairs
 * @{
 */

/**
 * @brief What to train on or to evaluate: a sequence of ids cut into chunks of equal length, or
 *   sentence pairs of any length with a label each. Never changes once made.
 *
 * Pairs are kept in buckets of similar length, padded at the end to the longest of their bucket,
 * and a batch is drawn from one bucket, so that little of it is padding. Results do not depend on
 * the padding.
 * @since 0.1
 */
typedef struct gf_dataset gf_dataset;

/**
 * @brief A dataset from ids in memory, which are copied. The rest that fills no chunk is dropped.
 * @param context Where errors go.
 * @param ids @p count ids.
 * @param count Number of ids.
 * @param length Ids of one chunk, at least 2.
 * @param out Receives the dataset; end it with gf_dataset_free().
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (length below 2, fewer ids than one chunk, a negative
 * id).
 * @since 0.1
 */
GF_API gf_status gf_dataset_from_ids(gf_context* context, const int32_t* ids, size_t count,
                                     int32_t length, gf_dataset** out);

/** @brief How a text file becomes one text. @since 0.1 */
typedef enum gf_text_format {
  GF_TEXT_PLAIN = 0,    /**< the file as it is */
  GF_TEXT_WIKITEXT = 1, /**< rows that are only white space dropped, the others joined by "\n", and
                            `<unk>` the unknown token where the vocabulary has one */
  GF_TEXT_INT =
      0x7fffffff /**< no value: lets the type hold any int, so that a wrong one can be refused */
} gf_text_format;

/**
 * @brief A dataset from a text file, encoded as one text (with special tokens).
 * @param context Where errors go.
 * @param tokenizer Turns the text into ids.
 * @param path The file.
 * @param format How rows are treated.
 * @param length Ids of one chunk, at least 2.
 * @param out Receives the dataset.
 * @return GF_OK; GF_ERROR_NOT_FOUND; GF_ERROR_IO; GF_ERROR_INVALID_ARGUMENT (an empty text or one
 *   shorter than a chunk: says how many ids it has).
 * @since 0.1
 */
GF_API gf_status gf_dataset_from_text_file(gf_context* context, const gf_tokenizer* tokenizer,
                                           const char* path, gf_text_format format, int32_t length,
                                           gf_dataset** out);

/** @brief Most classes of a pair classifier. @since 0.1 */
#define GF_MAX_CLASSES 16

/** @brief Classes of SNLI, in the order in which they are numbered. @since 0.1 */
enum {
  GF_SNLI_ENTAILMENT = 0,
  GF_SNLI_NEUTRAL = 1,
  GF_SNLI_CONTRADICTION = 2,
  GF_SNLI_CLASSES = 3
};

/**
 * @brief A dataset of pairs (or of any labelled sequences) in memory, which is copied.
 * @param context Where errors go.
 * @param ids The ids of all sequences, one after the other: the sum of @p lengths in all.
 * @param lengths [count], ids of each sequence, at least 1.
 * @param labels [count], class of each, 0 to GF_MAX_CLASSES - 1.
 * @param count Number of sequences, at least 1.
 * @param out Receives the dataset; end it with gf_dataset_free().
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (names the sequence and what is wrong with its length,
 *   its label or an id).
 * @since 0.1
 */
GF_API gf_status gf_dataset_from_pairs(gf_context* context, const int32_t* ids,
                                       const int32_t* lengths, const int32_t* labels, size_t count,
                                       gf_dataset** out);

/** @brief What a file of pairs held. @since 0.1 */
typedef struct gf_pair_report {
  size_t struct_size; /**< set by the caller to sizeof(gf_pair_report) */
  int64_t lines;      /**< lines that are not blank: pairs, kept or not */
  int64_t pairs;      /**< pairs kept */
  int64_t unlabelled; /**< pairs left out because their label is "-": the annotators disagreed */
  int64_t empty;      /**< pairs kept of which a sentence is empty or only white space */
  int64_t cut;        /**< pairs kept that were longer than allowed and cut, the longer sentence
                           first */
  int32_t longest;    /**< ids of the longest pair before any was cut */
  double mean_length; /**< ids of a pair kept, on average */
  int64_t label_counts[GF_MAX_CLASSES]; /**< pairs kept of each class */
} gf_pair_report;

/**
 * @brief A dataset from SNLI's JSON lines (the original release or any file with its keys).
 *
 * Each line is an object with `gold_label` ("entailment", "neutral", "contradiction" or "-"),
 * `sentence1` and `sentence2`; other keys are ignored. A pair becomes the ids of
 * gf_tokenizer_encode_pair(). Blank lines are ignored.
 * @param context Where errors go.
 * @param tokenizer Turns the sentences into ids.
 * @param path The file.
 * @param max_length Longest pair in ids; longer ones are cut. At least 8.
 * @param report Filled in; its struct_size must be set. NULL: not wanted.
 * @param out Receives the dataset.
 * @return GF_OK; GF_ERROR_NOT_FOUND; GF_ERROR_IO; GF_ERROR_FORMAT (file and line: no JSON object, a
 *   missing sentence, an unknown label, a pair without any id); GF_ERROR_INVALID_ARGUMENT (no pair
 *   at all, max_length).
 * @since 0.1
 */
GF_API gf_status gf_dataset_from_snli_file(gf_context* context, const gf_tokenizer* tokenizer,
                                           const char* path, int32_t max_length,
                                           gf_pair_report* report, gf_dataset** out);

/**
 * @brief The same from text in memory, such as gf_sample_pairs() makes.
 * @param context Where errors go.
 * @param tokenizer Turns the sentences into ids.
 * @param text JSON lines, @p size bytes.
 * @param size Bytes of text.
 * @param max_length Longest pair in ids; longer ones are cut. At least 8.
 * @param report Filled in; its struct_size must be set. NULL: not wanted.
 * @param out Receives the dataset.
 * @return As gf_dataset_from_snli_file(), without its errors of files.
 * @since 0.1
 */
GF_API gf_status gf_dataset_from_snli_text(gf_context* context, const gf_tokenizer* tokenizer,
                                           const char* text, size_t size, int32_t max_length,
                                           gf_pair_report* report, gf_dataset** out);

/**
 * @brief A run of a dataset's chunks or pairs, in their first order, as a dataset of its own, for
 *   example to hold out a part.
 * @param dataset The whole.
 * @param first First chunk.
 * @param count Chunks, at least 1.
 * @param out Receives the part.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (outside the whole).
 * @since 0.1
 */
GF_API gf_status gf_dataset_slice(const gf_dataset* dataset, int64_t first, int64_t count,
                                  gf_dataset** out);

/** @brief Frees a dataset. @param dataset May be NULL. @since 0.1 */
GF_API void gf_dataset_free(gf_dataset* dataset);

/** @brief What a dataset holds. @since 0.1 */
typedef struct gf_dataset_info {
  size_t struct_size;    /**< set by the caller to sizeof(gf_dataset_info) */
  int64_t ids;           /**< ids of the text before it was cut, the dropped rest included; of pairs
                              all that were kept */
  int64_t chunks;        /**< chunks or pairs */
  int32_t length;        /**< ids of one chunk, or of the longest pair */
  int32_t buckets;       /**< groups of one padded length: 1 for chunks */
  int64_t tokens;        /**< ids of all chunks or pairs, padding left out */
  int64_t padded_tokens; /**< the same with padding: what a pass over the data computes on */
  int32_t num_labels;    /**< 0 for chunks, else one more than the largest label */
  int64_t label_counts[GF_MAX_CLASSES]; /**< pairs of each class */
} gf_dataset_info;

/**
 * @brief Sizes of a dataset.
 * @param dataset The dataset.
 * @param out Filled in; its struct_size must be set.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_dataset_get_info(const gf_dataset* dataset, gf_dataset_info* out);

/**
 * @brief Text of the library's own sample corpus: sentences of a small seeded grammar with long and
 *   short dependencies. The same seed and size give the same bytes everywhere.
 * @param context Where errors go.
 * @param seed Seed.
 * @param text Receives exactly @p length bytes of ASCII, without a terminating zero.
 * @param length Bytes wanted.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_sample_text(gf_context* context, uint64_t seed, char* text, size_t length);

/**
 * @brief Sentence pairs of the sample corpus with true labels, as SNLI-like JSON lines
 *   (`gold_label`, `sentence1`, `sentence2`).
 * @param context Where errors go.
 * @param seed Seed.
 * @param pairs Number of lines.
 * @param text Receives the first @p capacity bytes; may be NULL when capacity is 0.
 * @param capacity Room in @p text.
 * @param length Receives the bytes of the whole text.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_sample_pairs(gf_context* context, uint64_t seed, int64_t pairs, char* text,
                                 size_t capacity, size_t* length);

/** @} */

/**
 * @name Models
 * @{
 */

/** @brief Parameters of one model on a context's device. @since 0.1 */
typedef struct gf_model gf_model;

/** @brief What mixes tokens. @since 0.1 */
typedef enum gf_mixer {
  GF_MIXER_GRASSMANN = 0,   /**< Pluecker coordinates of token pairs */
  GF_MIXER_TRANSFORMER = 1, /**< causal multi-head attention */
  GF_MIXER_INT =
      0x7fffffff /**< no value: lets the type hold any int, so that a wrong one can be refused */
} gf_mixer;

/**
 * @brief Which offsets a Grassmann layer looks back by.
 *
 * Per layer, a list with as many entries as there are layers gives each layer one; a shorter list
 * gives neighbouring layers the same one (six entries over twelve layers: two layers each), a
 * longer one gives each layer several.
 * @since 0.1
 */
typedef enum gf_window_schedule {
  GF_WINDOWS_ALL = 0,       /**< every layer has the whole list */
  GF_WINDOWS_PER_LAYER = 1, /**< the list divided over the layers, in order: one offset each */
  GF_WINDOWS_INT =
      0x7fffffff /**< no value: lets the type hold any int, so that a wrong one can be refused */
} gf_window_schedule;

/** @brief How a Grassmann layer weighs the pairs that its offsets make. @since 0.1 */
typedef enum gf_window_weights {
  GF_WINDOW_WEIGHTS_MEAN = 0,    /**< their mean, over the offsets that reach back to a token */
  GF_WINDOW_WEIGHTS_LEARNED = 1, /**< a parameter, offset_weight [heads, offsets of the layer];
                                      begins as one over the number of offsets */
  GF_WINDOW_WEIGHTS_INT =
      0x7fffffff /**< no value: lets the type hold any int, so that a wrong one can be refused */
} gf_window_weights;

/** @brief Room in gf_model_config::windows. @since 0.1 */
#define GF_MAX_WINDOWS 64

/** @brief The shape of a model. @since 0.1 */
typedef struct gf_model_config {
  size_t struct_size;  /**< set by gf_model_config_init() */
  gf_mixer mixer;      /**< default GF_MIXER_GRASSMANN */
  int32_t vocab_size;  /**< V; no default: must be set, at least 1 */
  int32_t max_seq_len; /**< L: learned positions; default 256 */
  int32_t num_layers;  /**< N; default 6 */
  int32_t model_dim;   /**< D; default 256 */
  int32_t num_heads;   /**< H, divides D (transformer only); default 4 */
  int32_t reduced_dim; /**< r of each head, at least 2 (Grassmann only); default 32 */
  int32_t ff_dim;      /**< F; default 1024 */
  int32_t num_classes; /**< 0 (default): language model; else a pair classifier's classes, at most
                            GF_MAX_CLASSES */
  float dropout;       /**< probability, 0 <= p < 1; default 0.1 */
  gf_window_schedule window_schedule; /**< default GF_WINDOWS_ALL */
  int32_t num_windows; /**< entries of windows in use; 0 (default): 1, 2, 4, 8, 12, 16 */
  int32_t
      windows[GF_MAX_WINDOWS]; /**< offsets, each at least 1; one that stands twice counts twice */
  int32_t grassmann_heads; /**< heads of the Grassmann mixer, each with r coordinates of its own,
                                whose Pluecker coordinates stand side by side; 0 (default): 1 */
  gf_window_weights window_weights; /**< default GF_WINDOW_WEIGHTS_MEAN */
} gf_model_config;

/**
 * @brief Fills in the defaults for a mixer, in a struct of the caller's size. The vocabulary stays
 * 0: set it.
 * @param config Struct to set up.
 * @param struct_size Its size, by the header that the caller was compiled with. What this version
 *   does not know of it becomes zero, which is unset.
 * @param mixer The mixer.
 * @since 0.1
 */
GF_API void gf_model_config_init_sized(gf_model_config* config, size_t struct_size, gf_mixer mixer);

/** @brief Fills in the defaults for a mixer; the vocabulary stays 0: set it. @param config Struct
 * to set up. @param mixer The mixer. @since 0.1 */
static inline void gf_model_config_init(gf_model_config* config, gf_mixer mixer) {
  gf_model_config_init_sized(config, sizeof *config, mixer);
}

/**
 * @brief Makes a Grassmann configuration that of grassmann+: four heads of r = 16, twelve offsets
 * from 1 to 64 for every layer, and learned weights. Widths, depth and length stay as they are, and
 * so, within 1 % at the default widths, does the number of parameters. docs/study.md has what it
 * gains.
 * @param config A configuration that gf_model_config_init() has set up, by this header.
 * @since 0.1
 */
GF_API void gf_model_config_grassmann_plus(gf_model_config* config);

/** @brief Longest parameter name with its terminating zero. @since 0.1 */
#define GF_MAX_NAME 96

/** @brief One parameter. @since 0.1 */
typedef struct gf_parameter {
  size_t struct_size;     /**< set by the caller to sizeof(gf_parameter) */
  char name[GF_MAX_NAME]; /**< as in PyTorch's state_dict, such as "blocks.0.grassmann.W_red.weight"
                           */
  int32_t dims;           /**< 1 or 2 */
  int64_t shape[2];       /**< outermost first; shape[1] is 1 for a vector */
} gf_parameter;

/**
 * @brief Number of parameters and of parameter tensors of a configuration; allocates no model.
 * @param context Where errors go.
 * @param config The shape.
 * @param tensors Receives the number of tensors; may be NULL.
 * @param parameters Receives the number of scalars; may be NULL.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (names the field).
 * @since 0.1
 */
GF_API gf_status gf_model_config_count(gf_context* context, const gf_model_config* config,
                                       int32_t* tensors, int64_t* parameters);

/**
 * @brief Name and shape of one parameter tensor of a configuration; allocates no model.
 * @param context Where errors go.
 * @param config The shape.
 * @param index 0 to the number of tensors less one.
 * @param out Filled in; its struct_size must be set.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_model_config_parameter(gf_context* context, const gf_model_config* config,
                                           int32_t index, gf_parameter* out);

/**
 * @brief Bytes that a model and its training take, computed without allocating them.
 * @param context Its device decides on the precision of activations.
 * @param config The shape.
 * @param batch_size Sequences of a batch.
 * @param length Ids of a sequence.
 * @param model_bytes Receives the bytes of the parameters; may be NULL.
 * @param training_bytes Receives the bytes that training takes, the parameters and evaluations of
 *   as large batches between its steps included, the data not; may be NULL. On a GPU operations
 *   have some 100 MB of scratch memory of their own beside.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_model_config_bytes(gf_context* context, const gf_model_config* config,
                                       int32_t batch_size, int32_t length, int64_t* model_bytes,
                                       int64_t* training_bytes);

/**
 * @brief Creates a model with fresh weights: every Linear and Embedding weight from N(0, 0.02),
 *   biases 0, LayerNorm 1 and 0.
 * @param context Its device holds the model.
 * @param config The shape; copied.
 * @param seed Equal seeds give equal weights on every device.
 * @param out Receives the model; end it with gf_model_free().
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (names the field); GF_ERROR_OUT_OF_MEMORY (says how
 * much).
 * @since 0.1
 */
GF_API gf_status gf_model_create(gf_context* context, const gf_model_config* config, uint64_t seed,
                                 gf_model** out);

/**
 * @brief Loads a model from a safetensors file written by gf_model_save() or gf_checkpoint_save().
 *
 * Such a file knows its configuration. `lm_head.weight`, the tied embedding under its second name,
 * is accepted and ignored.
 * @param context Its device holds the model.
 * @param path The file.
 * @param out Receives the model.
 * @return GF_OK; GF_ERROR_NOT_FOUND; GF_ERROR_IO; GF_ERROR_FORMAT (damaged); GF_ERROR_MISMATCH
 * (names the tensor, the expected and the found shape).
 * @since 0.1
 */
GF_API gf_status gf_model_load(gf_context* context, const char* path, gf_model** out);

/**
 * @brief Reads the weights of a file into a model of the same shape, for example one written by
 *   PyTorch, which carries no configuration.
 * @param model Its weights are replaced, or all untouched on failure.
 * @param path The file.
 * @return As gf_model_load().
 * @since 0.1
 */
GF_API gf_status gf_model_load_weights(gf_model* model, const char* path);

/**
 * @brief Writes weights, configuration and metadata as safetensors, with PyTorch's parameter names.
 *   An earlier file at @p path stays whole if anything fails.
 * @param model The model.
 * @param path The file.
 * @return GF_OK; GF_ERROR_IO (names the path and the reason).
 * @since 0.1
 */
GF_API gf_status gf_model_save(gf_model* model, const char* path);

/** @brief Frees a model. @param model May be NULL. @since 0.1 */
GF_API void gf_model_free(gf_model* model);

/**
 * @brief The configuration a model was made with.
 * @param model The model.
 * @param out Filled in; its struct_size must be set (gf_model_config_init() does).
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_model_get_config(const gf_model* model, gf_model_config* out);

/**
 * @brief Attaches a text to a model that its checkpoints will carry, such as "tokenizer" = "bert".
 * @param model The model.
 * @param key Not empty; keys that begin with "gf." are the library's own.
 * @param value Any text; NULL removes the key.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_model_set_metadata(gf_model* model, const char* key, const char* value);

/**
 * @brief A text attached to a model.
 * @param model The model.
 * @param key The key.
 * @return NULL when there is none. Valid until that key is set again or the model is freed.
 * @since 0.1
 */
GF_API const char* gf_model_metadata(const gf_model* model, const char* key);

/**
 * @brief Names and shapes of the parameters, in their fixed order.
 * @param model The model.
 * @param out Receives the first @p capacity entries; may be NULL when capacity is 0. The first
 *   entry's struct_size must be set and counts for all.
 * @param capacity Room in @p out.
 * @param count Receives the number of parameter tensors.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_model_parameters(const gf_model* model, gf_parameter* out, size_t capacity,
                                     size_t* count);

/**
 * @brief Copies one parameter out.
 * @param model The model.
 * @param name Its name.
 * @param values Receives shape[0] * shape[1] floats.
 * @param count Room in @p values; must equal the parameter's size.
 * @return GF_OK; GF_ERROR_NOT_FOUND (no such name); GF_ERROR_INVALID_ARGUMENT (says the size).
 * @since 0.1
 */
GF_API gf_status gf_model_read_parameter(gf_model* model, const char* name, float* values,
                                         size_t count);

/**
 * @brief Replaces one parameter.
 * @param model The model.
 * @param name Its name.
 * @param values shape[0] * shape[1] floats.
 * @param count Must equal the parameter's size.
 * @return As gf_model_read_parameter().
 * @since 0.1
 */
GF_API gf_status gf_model_write_parameter(gf_model* model, const char* name, const float* values,
                                          size_t count);

/**
 * @brief Logits of every position, without dropout.
 * @param model A language model; gf_model_classify() is for pair classifiers.
 * @param ids [B, T], each 0 to V - 1.
 * @param batch_size B, at least 1.
 * @param length T, 1 to max_seq_len.
 * @param logits Receives [B, T, V] floats.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (names the id and its place, or the size);
 *   GF_ERROR_OUT_OF_MEMORY.
 * @since 0.1
 */
GF_API gf_status gf_model_forward(gf_model* model, const int32_t* ids, int32_t batch_size,
                                  int32_t length, float* logits);

/**
 * @brief Logits of the classes of each sequence, without dropout.
 * @param model A pair classifier.
 * @param ids [B, T], each 0 to V - 1. What stands behind a sequence's own ids does not matter.
 * @param lengths [B], ids of each sequence, 1 to T; NULL: T each.
 * @param batch_size B, at least 1.
 * @param length T, 1 to max_seq_len.
 * @param logits Receives [B, C] floats, C classes.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (names the id or length and its place, or the size; or
 *   the model is a language model); GF_ERROR_OUT_OF_MEMORY.
 * @since 0.1
 */
GF_API gf_status gf_model_classify(gf_model* model, const int32_t* ids, const int32_t* lengths,
                                   int32_t batch_size, int32_t length, float* logits);

/** @} */

/**
 * @name Training
 * @{
 */

/** @brief A model in training: its data, gradients, moments and place in the schedule. @since 0.1
 */
typedef struct gf_trainer gf_trainer;

/** @brief Shape of the learning rate after the warm-up. @since 0.1 */
typedef enum gf_schedule {
  GF_SCHEDULE_COSINE = 0,       /**< cosine from lr to min_lr, which the last step reaches */
  GF_SCHEDULE_COSINE_EPOCH = 1, /**< cosine over epochs, constant inside each */
  GF_SCHEDULE_CONSTANT = 2,     /**< lr */
  GF_SCHEDULE_INT =
      0x7fffffff /**< no value: lets the type hold any int, so that a wrong one can be refused */
} gf_schedule;

/** @brief What a step did. @since 0.1 */
typedef struct gf_train_report {
  size_t struct_size;  /**< set by the caller to sizeof(gf_train_report) */
  int64_t step;        /**< steps done, this one included */
  int64_t total_steps; /**< steps of the whole training */
  int32_t epoch;       /**< epoch of this step, from 0 */
  double loss; /**< mean cross-entropy of the batch, nats per predicted token or per pair, before
                    the update */
  double gradient_norm; /**< global L2 norm before clipping */
  double learning_rate; /**< of this step's update */
  int64_t tokens;       /**< ids of this step's batch, padding left out */
  double seconds;       /**< wall-clock time of this step */
} gf_train_report;

/**
 * @brief Called after every step, in order. A non-zero return cancels: the call under way returns
 *   GF_CANCELLED after the step is complete, and training can go on or be saved.
 * @since 0.1
 */
typedef int (*gf_progress_fn)(const gf_train_report* report, void* user);

/** @brief Optimizer (AdamW) and schedule. @since 0.1 */
typedef struct gf_train_options {
  size_t struct_size;      /**< set by gf_train_options_init() */
  int32_t batch_size;      /**< sequences of a step; a bucket ends with fewer; default 32 */
  int32_t epochs;          /**< default 20 */
  int64_t max_steps;       /**< ends training after so many steps; 0 (default): epochs decide */
  double lr;               /**< highest learning rate; default 6e-4 */
  double min_lr;           /**< last learning rate of the cosine; default 6e-5 */
  int64_t warmup_steps;    /**< linear from lr/(warmup_steps + 1); default 100 */
  gf_schedule schedule;    /**< default GF_SCHEDULE_COSINE */
  double beta1;            /**< default 0.9 */
  double beta2;            /**< default 0.999 */
  double epsilon;          /**< default 1e-8 */
  double weight_decay;     /**< of every parameter; default 0.01 */
  double grad_clip;        /**< largest global gradient norm; 0: no clipping; default 1 */
  uint64_t seed;           /**< of the shuffle and of dropout; default 0 */
  gf_progress_fn progress; /**< NULL (default): none */
  void* progress_user;     /**< handed to progress */
} gf_train_options;

/**
 * @brief Fills in the defaults, the study's recipe, in a struct of the caller's size.
 * @param options Struct to set up.
 * @param struct_size Its size, by the header that the caller was compiled with. What this version
 *   does not know of it becomes zero, which is unset.
 * @since 0.1
 */
GF_API void gf_train_options_init_sized(gf_train_options* options, size_t struct_size);

/** @brief Fills in the defaults: the study's recipe. @param options Struct to set up. @since 0.1 */
static inline void gf_train_options_init(gf_train_options* options) {
  gf_train_options_init_sized(options, sizeof *options);
}

/**
 * @brief Starts training. Allocates all that training needs.
 * @param model Updated by every step.
 * @param dataset What to train on, chunks for a language model and pairs for a classifier; lengths
 *   must not exceed max_seq_len, ids not V - 1, labels not C - 1.
 * @param options NULL for the defaults; copied.
 * @param out Receives the trainer; end it with gf_trainer_free().
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT (names the option, the id or label and its place, or
 * that the dataset is not of the model's kind); GF_ERROR_OUT_OF_MEMORY (says how much).
 * @since 0.1
 */
GF_API gf_status gf_trainer_create(gf_model* model, const gf_dataset* dataset,
                                   const gf_train_options* options, gf_trainer** out);

/** @brief Ends training; the model stays. @param trainer May be NULL. @since 0.1 */
GF_API void gf_trainer_free(gf_trainer* trainer);

/**
 * @brief One step: next batch, forward, backward, clip, AdamW.
 *
 * On a GPU a step takes less time than asking for its outcome: with neither a report nor a progress
 * callback the call returns at once, steps queue up (64 at most, then it waits), and an error of
 * one of them is returned by a later call. gf_trainer_get_state() waits for all of them.
 * @param trainer The trainer.
 * @param report Filled in; its struct_size must be set. NULL: not wanted.
 * @return GF_OK; GF_END (no step is left, nothing done); GF_CANCELLED (by the progress callback,
 * the step is complete); GF_ERROR_NOT_FINITE (loss or gradient: names the step and the tensor; the
 *   weights are those before the step).
 * @since 0.1
 */
GF_API gf_status gf_train_step(gf_trainer* trainer, gf_train_report* report);

/** @brief Where training stands. @since 0.1 */
typedef struct gf_train_state {
  size_t struct_size;      /**< set by the caller to sizeof(gf_train_state) */
  int64_t step;            /**< steps done */
  int64_t total_steps;     /**< steps of the whole training */
  int64_t steps_per_epoch; /**< steps of one epoch */
  int32_t epoch;           /**< epoch of the next step, from 0 */
  double
      epoch_loss; /**< mean loss of the steps of the epoch of the last step; 0 before the first */
  int64_t tokens; /**< ids of the batches of all steps done, padding left out */
} gf_train_state;

/**
 * @brief Where training stands.
 * @param trainer The trainer.
 * @param out Filled in; its struct_size must be set.
 * @return GF_OK; GF_ERROR_INVALID_ARGUMENT.
 * @since 0.1
 */
GF_API gf_status gf_trainer_get_state(gf_trainer* trainer, gf_train_state* out);

/**
 * @brief Writes all that is needed to go on: weights, both moments, step, seed, place in the data,
 *   options, metadata. Continuing from it is bit-equal to never having stopped.
 * @param trainer The trainer.
 * @param path The file; an earlier one stays whole if anything fails.
 * @return GF_OK; GF_ERROR_IO.
 * @since 0.1
 */
GF_API gf_status gf_checkpoint_save(gf_trainer* trainer, const char* path);

/**
 * @brief Goes on from a file of gf_checkpoint_save().
 * @param trainer Made with the same configuration, data and options as the one that saved.
 * @param path The file.
 * @return GF_OK; GF_ERROR_NOT_FOUND; GF_ERROR_IO; GF_ERROR_FORMAT; GF_ERROR_MISMATCH (names the
 *   tensor or option that differs). On failure the trainer is untouched.
 * @since 0.1
 */
GF_API gf_status gf_checkpoint_load(gf_trainer* trainer, const char* path);

/** @} */

/**
 * @name Evaluation
 * @{
 */

/** @brief What an evaluation found. @since 0.1 */
typedef struct gf_eval_report {
  size_t struct_size;  /**< set by the caller to sizeof(gf_eval_report) */
  double loss;         /**< mean cross-entropy over all predicted tokens, or over all pairs, nats */
  double perplexity;   /**< exp(loss) */
  int64_t sequences;   /**< chunks or pairs */
  int64_t tokens;      /**< predicted tokens: sequences * (length - 1); of pairs all ids */
  double seconds;      /**< wall-clock time */
  double accuracy;     /**< share of the pairs whose class has the largest logit (the first of equal
                            ones); 0 for a language model, as all that follows */
  int32_t num_classes; /**< C of the classifier */
  int64_t class_counts[GF_MAX_CLASSES];  /**< pairs of each class */
  double class_accuracy[GF_MAX_CLASSES]; /**< share of a class's pairs that are predicted so; 0
                                            where there are none */
  int64_t confusion[GF_MAX_CLASSES][GF_MAX_CLASSES]; /**< pairs of class i predicted as class j */
} gf_eval_report;

/**
 * @brief Mean loss of a model over a dataset, without dropout; of a pair classifier also how often
 * it is right.
 *
 * While a trainer of the model is there, whose batches are as large, it takes no memory but for the
 * data: it works in the trainer's, between two steps.
 * @param model The model; not changed.
 * @param dataset As for gf_trainer_create().
 * @param batch_size Sequences at a time; 0: 32. The result depends on it in rounding only.
 * @param out Filled in; its struct_size must be set.
 * @return GF_OK; GF_CANCELLED (by gf_context_cancel()); GF_ERROR_INVALID_ARGUMENT;
 *   GF_ERROR_OUT_OF_MEMORY.
 * @since 0.1
 */
GF_API gf_status gf_eval(gf_model* model, const gf_dataset* dataset, int32_t batch_size,
                         gf_eval_report* out);

/** @} */

#ifdef __cplusplus
}
#endif

#endif /* GRASSFLOW_H */
