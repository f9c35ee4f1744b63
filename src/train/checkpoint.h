#pragma once

#include <memory>
#include <string>

#include "train/trainer.h"

namespace gf {

// Checkpoints are safetensors with the parameter names of PyTorch's state_dict. A model's file
// holds the weights, its configuration ("gf.config", JSON) and its metadata. A trainer's also both
// moments
// ("gf.moment1.<name>", "gf.moment2.<name>") and where the run stands ("gf.training", JSON).

void save_model(const Model& model, const std::string& path);
std::shared_ptr<Model> load_model(std::shared_ptr<Device> device, const std::string& path);

// Weights alone, all or none. `lm_head.weight`, the tied embedding's second name, is ignored.
void load_weights(Model& model, const std::string& path);

void save_trainer(const Trainer& trainer, const std::string& path);

// Throws GF_ERROR_MISMATCH naming what differs: a tensor, the data's size, or an option that
// decides on the steps to come. The trainer is untouched then.
void load_trainer(Trainer& trainer, const std::string& path);

}  // namespace gf
