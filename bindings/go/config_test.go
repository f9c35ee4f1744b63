package grassflow

import (
	"reflect"
	"testing"
)

func TestConfig(t *testing.T) {
	gf := open(t)
	config := smallConfig(Grassmann)
	config.WindowSchedule, config.Windows = WindowsPerLayer, []int{1, 3}
	config.GrassmannHeads, config.WindowWeights = 2, LearnedWeights
	model := must(gf.NewModel(config, 1))
	wantEqual(t, must(model.Config()), config)
	count := 0
	for _, parameter := range must(model.Parameters()) {
		count += parameter.Count()
	}
	wantEqual(t, must(gf.CountParameters(config)), count)
	bytes, training, err := gf.ModelBytes(config, 4, length)
	if err != nil || bytes < 4*int64(count) || training <= bytes {
		t.Errorf("%d bytes, %d in training, %v", bytes, training, err)
	}
	config.Windows = make([]int, 65)
	_, err = gf.NewModel(config, 1)
	wantError(t, err, ErrInvalidArgument, "65")
	config.Windows = nil
	config.GrassmannHeads = -1
	_, err = gf.NewModel(config, 1)
	wantError(t, err, ErrInvalidArgument, "grassmann_heads")
	config.GrassmannHeads, config.WindowWeights = 1, 2
	_, err = gf.NewModel(config, 1)
	wantError(t, err, ErrInvalidArgument, "window_weights")
	config.VocabSize = -1 << 40
	_, err = gf.NewModel(config, 1)
	wantError(t, err, ErrInvalidArgument, "vocab_size")
}

func TestGrassmannPlus(t *testing.T) {
	gf := open(t)
	config := NewGrassmannPlusConfig()
	wantEqual(t, []any{config.Mixer, config.GrassmannHeads, config.ReducedDim, len(config.Windows),
		config.WindowWeights}, []any{Grassmann, 4, 16, 12, LearnedWeights})
	config.VocabSize, config.NumLayers = 30522, 12
	wantEqual(t, must(gf.CountParameters(config)), 17_456_448)

	config.VocabSize, config.NumLayers, config.ModelDim, config.FFDim = 256, 2, 16, 32
	model := must(gf.NewModel(config, 1))
	wantEqual(t, must(model.Config()), config)
	const name = "blocks.1.grassmann.offset_weight"
	fresh := must(model.ReadParameter(name)) // [4, 12]
	wantEqual(t, []any{len(fresh), fresh[47]}, []any{48, float32(1) / 12})
	options := fewSteps(1)
	options.WeightDecay = 0 // which would move them as well
	losses(t, must(model.NewTrainer(smallData(gf), options)), 1)
	if reflect.DeepEqual(must(model.ReadParameter(name)), fresh) {
		t.Errorf("%s is after a step as before it", name)
	}
}
