#include <cstdio>
#include <span>
#include <vector>

#include "api/handles.h"
#include "train/checkpoint.h"

using namespace gf;
using namespace gf::api;

namespace {

ModelConfig read_config(const gf_model_config* config) {
  require(config, "config");
  return ModelConfig(read_struct(config, default_config(config->mixer), "config"));
}

gf_parameter describe(const ParamSpec& spec) {
  gf_parameter parameter = {};
  std::snprintf(parameter.name, sizeof parameter.name, "%s", spec.name.c_str());
  parameter.dims = spec.dims;
  parameter.shape[0] = spec.dims == 1 ? spec.cols : spec.rows;
  parameter.shape[1] = spec.dims == 1 ? 1 : spec.cols;
  return parameter;
}

const ParamSpec& find_sized(const Model& model, const char* name, const void* values,
                            size_t count) {
  require(name, "name");
  require(values, "values");
  const ParamSpec& spec = model.table()[name];
  if (count != static_cast<size_t>(spec.size())) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "count is %zu, but %s has %lld values", count, name,
                static_cast<long long>(spec.size()));
  }
  return spec;
}

// The ids of a batch, once its sizes have been found right.
std::span<const int32_t> ids_of(const Model& model, const int32_t* ids, int32_t batch_size,
                                int32_t length) {
  require(ids, "ids");
  if (batch_size < 1) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "batch_size is %d, expected at least 1", batch_size);
  }
  model.check_length(length, 1);
  return {ids, static_cast<size_t>(batch_size) * static_cast<size_t>(length)};
}

}  // namespace

// ---- Configurations ----------------------------------------------------------------------------

void gf_model_config_init_sized(gf_model_config* config, size_t struct_size, gf_mixer mixer) {
  init_struct(config, struct_size, default_config(mixer));
}

void gf_model_config_grassmann_plus(gf_model_config* config) {
  if (config) set_grassmann_plus(*config);
}

gf_status gf_model_config_count(gf_context* context, const gf_model_config* config,
                                int32_t* tensors, int64_t* parameters) {
  return guard(context, [&] {
    const ParamTable table(read_config(config));
    if (tensors) *tensors = static_cast<int32_t>(table.specs().size());
    if (parameters) *parameters = table.parameters();
    return GF_OK;
  });
}

gf_status gf_model_config_parameter(gf_context* context, const gf_model_config* config,
                                    int32_t index, gf_parameter* out) {
  return guard(context, [&] {
    require_struct(out, "out");
    const ParamTable table(read_config(config));
    if (index < 0 || static_cast<size_t>(index) >= table.specs().size()) {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "index is %d, expected 0 to %zu", index,
                  table.specs().size() - 1);
    }
    write_struct(out, describe(table.specs()[static_cast<size_t>(index)]));
    return GF_OK;
  });
}

gf_status gf_model_config_bytes(gf_context* context, const gf_model_config* config,
                                int32_t batch_size, int32_t length, int64_t* model_bytes,
                                int64_t* training_bytes) {
  return guard(context, [&] {
    const ModelConfig checked = read_config(config);
    const int32_t product_bytes = context->shared->device->product_bytes();
    if (batch_size < 1 || length < 1) {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "batch_size is %d and length %d, expected at least 1",
                  batch_size, length);
    }
    const Shape shape{batch_size, length, product_bytes, true};
    Arena values;
    lay_out_parameters(values, ParamTable(checked), product_bytes);
    if (model_bytes) *model_bytes = static_cast<int64_t>(values.bytes());
    if (training_bytes) *training_bytes = static_cast<int64_t>(Trainer::bytes(checked, shape));
    return GF_OK;
  });
}

// ---- Creation, files ---------------------------------------------------------------------------

gf_status gf_model_create(gf_context* context, const gf_model_config* config, uint64_t seed,
                          gf_model** out) {
  return guard(context, [&] {
    require(out, "out");
    auto model = std::make_shared<Model>(context->shared->device, read_config(config));
    model->initialise(seed);
    *out = new gf_model{context->shared, std::move(model)};
    return GF_OK;
  });
}

gf_status gf_model_load(gf_context* context, const char* path, gf_model** out) {
  return guard(context, [&] {
    require(path, "path");
    require(out, "out");
    *out = new gf_model{context->shared, load_model(context->shared->device, path)};
    return GF_OK;
  });
}

gf_status gf_model_load_weights(gf_model* model, const char* path) {
  return guard(model, [&] {
    require(path, "path");
    load_weights(*model->model, path);
    return GF_OK;
  });
}

gf_status gf_model_save(gf_model* model, const char* path) {
  return guard(model, [&] {
    require(path, "path");
    save_model(*model->model, path);
    return GF_OK;
  });
}

void gf_model_free(gf_model* model) {
  free_handle(model);
}

// ---- Properties --------------------------------------------------------------------------------

gf_status gf_model_get_config(const gf_model* model, gf_model_config* out) {
  return guard(model, [&] {
    require_struct(out, "out");
    write_struct(out, model->model->config().c());
    return GF_OK;
  });
}

gf_status gf_model_set_metadata(gf_model* model, const char* key, const char* value) {
  return guard(model, [&] {
    require(key, "key");
    if (*key == '\0' || std::strncmp(key, "gf.", 3) == 0) {
      throw_error(GF_ERROR_INVALID_ARGUMENT,
                  "key is \"%s\", expected a name that does not begin with \"gf.\"", key);
    }
    if (value) {
      model->model->metadata()[key] = value;
    } else {
      model->model->metadata().erase(key);
    }
    return GF_OK;
  });
}

const char* gf_model_metadata(const gf_model* model, const char* key) {
  if (!model || !key) return nullptr;
  const auto& metadata = model->model->metadata();
  const auto entry = metadata.find(key);
  return entry == metadata.end() ? nullptr : entry->second.c_str();
}

gf_status gf_model_parameters(const gf_model* model, gf_parameter* out, size_t capacity,
                              size_t* count) {
  return guard(model, [&] {
    require(count, "count");
    const auto& specs = model->model->table().specs();
    write_structs(out, capacity, specs.size(), [&](size_t i) { return describe(specs[i]); });
    *count = specs.size();
    return GF_OK;
  });
}

gf_status gf_model_read_parameter(gf_model* model, const char* name, float* values, size_t count) {
  return guard(model, [&] {
    const ParamSpec& spec = find_sized(*model->model, name, values, count);
    model->model->read(spec, {values, count});
    return GF_OK;
  });
}

gf_status gf_model_write_parameter(gf_model* model, const char* name, const float* values,
                                   size_t count) {
  return guard(model, [&] {
    const ParamSpec& spec = find_sized(*model->model, name, values, count);
    model->model->write(spec, {values, count});
    model->model->refresh();
    return GF_OK;
  });
}

gf_status gf_model_forward(gf_model* model, const int32_t* ids, int32_t batch_size, int32_t length,
                           float* logits) {
  return guard(model, [&] {
    require(logits, "logits");
    if (model->model->config().classes() > 0) {
      throw_error(GF_ERROR_INVALID_ARGUMENT,
                  "the model is a pair classifier: its logits are gf_model_classify()'s");
    }
    model->model->forward(ids_of(*model->model, ids, batch_size, length), {}, batch_size, length,
                          logits);
    return GF_OK;
  });
}

gf_status gf_model_classify(gf_model* model, const int32_t* ids, const int32_t* lengths,
                            int32_t batch_size, int32_t length, float* logits) {
  return guard(model, [&] {
    require(logits, "logits");
    if (model->model->config().classes() == 0) {
      throw_error(GF_ERROR_INVALID_ARGUMENT,
                  "the model is a language model (num_classes is 0): its logits are "
                  "gf_model_forward()'s");
    }
    const std::span all = ids_of(*model->model, ids, batch_size, length);
    const std::vector<int32_t> whole(static_cast<size_t>(batch_size), length);
    const std::span given(lengths ? lengths : whole.data(), whole.size());
    model->model->forward(all, given, batch_size, length, logits);
    return GF_OK;
  });
}
