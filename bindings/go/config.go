package grassflow

// #include <grassflow.h>
import "C"

// Mixer is what mixes tokens.
type Mixer int

const (
	// Grassmann mixes by Pluecker coordinates of token pairs.
	Grassmann Mixer = C.GF_MIXER_GRASSMANN
	// Transformer mixes by causal multi-head attention.
	Transformer Mixer = C.GF_MIXER_TRANSFORMER
)

// WindowSchedule is which offsets a Grassmann layer looks back by.
type WindowSchedule int

const (
	// AllWindows: every layer has the whole list.
	AllWindows WindowSchedule = C.GF_WINDOWS_ALL
	// WindowsPerLayer: the list divided over the layers, in order.
	WindowsPerLayer WindowSchedule = C.GF_WINDOWS_PER_LAYER
)

// WindowWeights is how a Grassmann layer weighs the pairs that its offsets make.
type WindowWeights int

const (
	// MeanWeights: their mean, over the offsets that reach back to a token.
	MeanWeights WindowWeights = C.GF_WINDOW_WEIGHTS_MEAN
	// LearnedWeights: a parameter, offset_weight [heads, offsets of the layer], which begins as one
	// over the number of offsets.
	LearnedWeights WindowWeights = C.GF_WINDOW_WEIGHTS_LEARNED
)

// ModelConfig is the shape of a model. Begin with [NewModelConfig] or [NewGrassmannPlusConfig],
// which know the defaults.
type ModelConfig struct {
	Mixer          Mixer
	VocabSize      int            // V; no default: must be set, at least 1
	MaxSeqLen      int            // longest sequence: learned positions
	NumLayers      int            // blocks
	ModelDim       int            // model width
	NumHeads       int            // a divisor of ModelDim (transformer only)
	ReducedDim     int            // reduced width of each head, at least 2 (Grassmann only)
	FFDim          int            // feed-forward width
	NumClasses     int            // 0: language model; else the classes of a classifier, 16 at most
	Dropout        float32        // probability, from 0 to below 1
	WindowSchedule WindowSchedule // which layer has which of Windows
	Windows        []int          // offsets, each at least 1, 64 at most; empty: 1, 2, 4, 8, 12, 16
	GrassmannHeads int            // each with ReducedDim coordinates of its own; 0: 1
	WindowWeights  WindowWeights  // how the offsets are weighed (Grassmann only)
}

// NewModelConfig is the defaults of a mixer. The vocabulary stays 0: set it.
func NewModelConfig(mixer Mixer) ModelConfig {
	var raw C.gf_model_config
	C.gf_model_config_init(&raw, C.gf_mixer(mixer))
	return configFrom(&raw)
}

// NewGrassmannPlusConfig is grassmann+ with the defaults of [Grassmann] for all else: four heads of
// a reduced width of 16, twelve offsets from 1 to 64 for every layer, and learned weights. The
// vocabulary stays 0: set it.
func NewGrassmannPlusConfig() ModelConfig {
	var raw C.gf_model_config
	C.gf_model_config_init(&raw, C.GF_MIXER_GRASSMANN)
	C.gf_model_config_grassmann_plus(&raw)
	return configFrom(&raw)
}

// CountParameters is the number of scalars of all parameters of a configuration; no model is made.
// It fails with [ErrInvalidArgument], which names the field.
func (c *Context) CountParameters(config ModelConfig) (int, error) {
	raw, err := config.raw()
	if err != nil {
		return 0, err
	}
	var count C.int64_t
	err = c.handle.call(func(context *C.gf_context) C.gf_status {
		return C.gf_model_config_count(context, &raw, nil, &count)
	})
	return int(count), err
}

// ModelBytes is what a model takes, and what its training takes with batches of batchSize sequences
// of length ids; no model is made.
func (c *Context) ModelBytes(config ModelConfig, batchSize, length int) (model, training int64,
	err error) {
	raw, err := config.raw()
	if err != nil {
		return 0, 0, err
	}
	var modelBytes, trainingBytes C.int64_t
	err = c.handle.call(func(context *C.gf_context) C.gf_status {
		return C.gf_model_config_bytes(context, &raw, int32Of(batchSize), int32Of(length),
			&modelBytes, &trainingBytes)
	})
	return int64(modelBytes), int64(trainingBytes), err
}

func configFrom(raw *C.gf_model_config) ModelConfig {
	config := ModelConfig{
		Mixer:          Mixer(raw.mixer),
		VocabSize:      int(raw.vocab_size),
		MaxSeqLen:      int(raw.max_seq_len),
		NumLayers:      int(raw.num_layers),
		ModelDim:       int(raw.model_dim),
		NumHeads:       int(raw.num_heads),
		ReducedDim:     int(raw.reduced_dim),
		FFDim:          int(raw.ff_dim),
		NumClasses:     int(raw.num_classes),
		Dropout:        float32(raw.dropout),
		WindowSchedule: WindowSchedule(raw.window_schedule),
		GrassmannHeads: int(raw.grassmann_heads),
		WindowWeights:  WindowWeights(raw.window_weights),
	}
	for _, offset := range raw.windows[:raw.num_windows] {
		config.Windows = append(config.Windows, int(offset))
	}
	return config
}

func (c *ModelConfig) raw() (C.gf_model_config, error) {
	raw := C.gf_model_config{
		struct_size:     C.sizeof_gf_model_config,
		mixer:           C.gf_mixer(c.Mixer),
		vocab_size:      int32Of(c.VocabSize),
		max_seq_len:     int32Of(c.MaxSeqLen),
		num_layers:      int32Of(c.NumLayers),
		model_dim:       int32Of(c.ModelDim),
		num_heads:       int32Of(c.NumHeads),
		reduced_dim:     int32Of(c.ReducedDim),
		ff_dim:          int32Of(c.FFDim),
		num_classes:     int32Of(c.NumClasses),
		dropout:         C.float(c.Dropout),
		window_schedule: C.gf_window_schedule(c.WindowSchedule),
		num_windows:     int32Of(len(c.Windows)),
		grassmann_heads: int32Of(c.GrassmannHeads),
		window_weights:  C.gf_window_weights(c.WindowWeights),
	}
	if len(c.Windows) > len(raw.windows) {
		return raw, invalidArgument("Windows has %d entries, expected %d at most", len(c.Windows),
			len(raw.windows))
	}
	for i, offset := range c.Windows {
		raw.windows[i] = int32Of(offset)
	}
	return raw, nil
}
