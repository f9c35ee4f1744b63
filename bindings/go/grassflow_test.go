package grassflow

// What a user of the package relies on, beyond the losses that train_steps compares with C.

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

const length = 16

// must is a value whose making is no part of the test.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func open(t *testing.T) *Context {
	gf := must(NewContext(ContextOptions{Threads: 1}))
	t.Cleanup(func() { gf.Close() })
	return gf
}

func smallData(gf *Context) *Dataset {
	ids := must(must(gf.LoadTokenizer("byte", "")).Encode(must(gf.SampleText(1, 4000)), KeepSpecial))
	return must(gf.DatasetFromIDs(ids, length))
}

func smallConfig(mixer Mixer) ModelConfig {
	config := NewModelConfig(mixer)
	config.VocabSize, config.MaxSeqLen, config.NumLayers, config.ModelDim = 256, length, 2, 16
	config.NumHeads, config.ReducedDim, config.FFDim = 2, 4, 32
	return config
}

func fewSteps(steps int) TrainOptions {
	options := DefaultTrainOptions()
	options.MaxSteps, options.WarmupSteps, options.LR = steps, 2, 3e-3
	return options
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func losses(t *testing.T, trainer *Trainer, steps int) []float64 {
	t.Helper()
	var losses []float64
	for len(losses) < steps {
		report, err := trainer.Step()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, report.Loss)
	}
	return losses
}

func wantError(t *testing.T, err error, status Status, text string) {
	t.Helper()
	if !errors.Is(err, status) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want an error of the kind %q that says %q", err, status, text)
	}
}

func wantEqual(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDefaults(t *testing.T) {
	options := DefaultTrainOptions()
	wantEqual(t, []any{options.BatchSize, options.Epochs, options.LR}, []any{32, 20, 6e-4})
	config := NewModelConfig(Transformer)
	wantEqual(t, []any{config.Mixer, config.NumLayers, config.VocabSize}, []any{Transformer, 6, 0})
	wantEqual(t, Version(), "0.1.0")
}

func TestContext(t *testing.T) {
	wantEqual(t, open(t).Description(), "cpu, 1 thread, fp32")
	_, err := NewContext(ContextOptions{Device: "tpu"})
	wantError(t, err, ErrInvalidArgument, "tpu")
	_, err = NewContext(ContextOptions{Precision: "bf16"})
	wantError(t, err, ErrUnsupported, "bf16")
	_, err = NewContext(ContextOptions{Threads: -1})
	wantError(t, err, ErrInvalidArgument, "threads is -1")
}

func TestTokenizer(t *testing.T) {
	gf := open(t)
	bytes := must(gf.LoadTokenizer("byte", ""))
	wantEqual(t, bytes.Name(), "byte")
	wantEqual(t, bytes.VocabSize(), 256)
	ids := must(bytes.Encode("Grün\x00", KeepSpecial))
	wantEqual(t, ids, []int32{71, 114, 195, 188, 110, 0})
	wantEqual(t, must(bytes.Decode(ids[:3], KeepSpecial)), "Gr\xc3")
	wantEqual(t, must(bytes.Encode("", KeepSpecial)), []int32{})
	_, err := bytes.Decode([]int32{65, 256}, KeepSpecial)
	wantError(t, err, ErrInvalidArgument, "256")
	_, err = gf.LoadTokenizer("word", "")
	wantError(t, err, ErrInvalidArgument, "word")
	_, err = gf.LoadTokenizer("bert", "/nowhere")
	wantError(t, err, ErrNotFound, "/nowhere")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: want it to be fs.ErrNotExist", err)
	}
}

func TestPair(t *testing.T) {
	directory := t.TempDir()
	vocabulary := "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nfox\n"
	write(t, filepath.Join(directory, "vocab.txt"), vocabulary)
	bert := must(open(t).LoadTokenizer("bert", directory))
	wantEqual(t, must(bert.SpecialIDs()), SpecialIDs{0, 1, 2, 3, -1})
	wantEqual(t, must(bert.EncodePair("Red fox", "fox", KeepSpecial, 0)), []int32{2, 5, 6, 3, 6, 3})
	wantEqual(t, must(bert.EncodePair("Red fox", "fox", KeepSpecial, 5)), []int32{2, 5, 3, 6, 3})
	wantEqual(t, must(bert.Encode("red fox", OmitSpecial)), []int32{5, 6})
	_, err := bert.EncodePair("a\x00", "b", KeepSpecial, 0)
	wantError(t, err, ErrInvalidArgument, "zero byte at position 1")
}

func TestDataset(t *testing.T) {
	gf := open(t)
	data := smallData(gf)
	wantEqual(t, must(data.Info()), DatasetInfo{4000, 250, length, 1, 4000, 4000, []int{}})
	wantEqual(t, must(must(data.Slice(10, 30)).Info()).Chunks, 20)
	_, err := data.Slice(240, 251)
	wantError(t, err, ErrInvalidArgument, "250")
	_, err = gf.DatasetFromIDs(nil, 2)
	wantError(t, err, ErrInvalidArgument, "")

	path := filepath.Join(t.TempDir(), "text.txt")
	write(t, path, "one two three four")
	bytes := must(gf.LoadTokenizer("byte", ""))
	wantEqual(t, must(must(gf.DatasetFromTextFile(bytes, path, PlainText, 6)).Info()).Chunks, 3)
	_, err = gf.DatasetFromTextFile(bytes, path+"?", PlainText, 6)
	wantError(t, err, ErrNotFound, path+"?")
	wantEqual(t, strings.Count(must(gf.SamplePairs(1, 3)), "\n"), 3)
}

func TestPairsAndClassifiers(t *testing.T) {
	gf := open(t)
	bytes := must(gf.LoadTokenizer("byte", ""))
	text := must(gf.SamplePairs(1, 30)) + `{"gold_label": "-", "sentence1": "a", "sentence2": "b"}`
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	write(t, path, text)
	data, report, err := gf.DatasetFromSNLIFile(bytes, path, length)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []int{report.Lines, report.Pairs, report.Unlabelled}, []int{31, 30, 1})
	info := must(data.Info())
	wantEqual(t, info.Chunks, 30)
	wantEqual(t, info.LabelCounts, report.LabelCounts)
	_, same, err := gf.DatasetFromSNLIText(bytes, text, length)
	wantEqual(t, []any{same, err}, []any{report, nil})
	_, _, err = gf.DatasetFromSNLIText(bytes, "{}", length)
	wantError(t, err, ErrFormat, "line 1")

	pairs := must(gf.DatasetFromPairs([]LabelledIDs{{[]int32{1, 2, 3}, 0}, {[]int32{4}, 2}}))
	wantEqual(t, must(pairs.Info()).LabelCounts, []int{1, 0, 1})
	_, err = gf.DatasetFromPairs([]LabelledIDs{{[]int32{1}, 99}})
	wantError(t, err, ErrInvalidArgument, "99")

	config := smallConfig(Grassmann)
	config.NumClasses = len(SNLIClasses)
	model := must(gf.NewModel(config, 1))
	wantEqual(t, len(losses(t, must(model.NewTrainer(data, fewSteps(3))), 9)), 3)
	found := must(model.Evaluate(data, 0))
	wantEqual(t, found.ClassCounts, report.LabelCounts)
	right, all := 0, 0
	for class, row := range found.Confusion {
		right += row[class]
		for _, count := range row {
			all += count
		}
	}
	wantEqual(t, []any{found.Accuracy, all}, []any{float64(right) / 30, 30})

	logits := must(model.Classify([]int32{1, 2, 3, 4, 0, 0}, []int32{3, 1}, 2)) // [2, 3]
	for i, logit := range must(model.Classify([]int32{4}, nil, 1)) {
		if difference := logit - logits[3+i]; difference > 1e-5 || difference < -1e-5 {
			t.Fatalf("logit %d: %g alone, %g in a batch", i, logit, logits[3+i])
		}
	}
	_, err = model.Classify([]int32{1, 2}, []int32{1}, 2)
	wantError(t, err, ErrInvalidArgument, "1 lengths")
	_, err = model.Forward([]int32{1}, 1)
	wantError(t, err, ErrInvalidArgument, "classif")
}

func TestParametersAreArrays(t *testing.T) {
	model := must(open(t).NewModel(smallConfig(Transformer), 1))
	const name = "position_embedding.weight"
	for _, parameter := range must(model.Parameters()) {
		if parameter.Name == name {
			wantEqual(t, parameter.Shape, []int{length, 16})
		}
	}
	values := must(model.ReadParameter(name))
	values[17] = 0.5
	if err := model.WriteParameter(name, values); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, must(model.ReadParameter(name)), values)
	_, err := model.ReadParameter("none")
	wantError(t, err, ErrNotFound, "none")
	wantError(t, model.WriteParameter(name, values[:1]), ErrInvalidArgument, "256")
}

func TestForward(t *testing.T) {
	model := must(open(t).NewModel(smallConfig(Grassmann), 1))
	ids := []int32{1, 2, 3, 4, 5, 6}
	logits := must(model.Forward(ids, 2)) // [2, 3, 256]
	second := must(model.Forward(ids[3:], 1))
	wantEqual(t, len(logits), 6*256)
	for i, logit := range second {
		if difference := logit - logits[3*256+i]; difference > 1e-5 || difference < -1e-5 {
			t.Fatalf("logit %d: %g alone, %g in a batch", i, logit, logits[3*256+i])
		}
	}
	_, err := model.Forward(ids, 4)
	wantError(t, err, ErrInvalidArgument, "6 ids")
	_, err = model.Forward([]int32{1, 999}, 1)
	wantError(t, err, ErrInvalidArgument, "999")
	wantError(t, model.ForwardInto(ids, 2, make([]float32, 9)), ErrInvalidArgument, "1536")
}

func TestCancelAndGoOn(t *testing.T) {
	gf := open(t)
	model, data := must(gf.NewModel(smallConfig(Grassmann), 1)), smallData(gf)
	trainer := must(model.NewTrainer(data, fewSteps(8)))
	ctx, cancel := context.WithCancel(context.Background())
	var steps []int
	err := trainer.Train(ctx, func(report TrainReport) {
		steps = append(steps, report.Step)
		if report.Step == 3 {
			must(model.Evaluate(data, 0)) // the model may be used here
			cancel()
		}
	})
	wantEqual(t, err, context.Canceled)
	wantEqual(t, steps, []int{1, 2, 3})
	wantEqual(t, must(trainer.State()).Step, 3)
	wantEqual(t, trainer.StepWithoutReport(), nil)
	wantEqual(t, trainer.Train(context.Background(), nil), nil)
	_, err = trainer.Step()
	wantEqual(t, err, io.EOF)
	wantEqual(t, trainer.StepWithoutReport(), io.EOF)
	wantEqual(t, must(trainer.State()).Step, 8)
}

func TestCancelAnEvaluation(t *testing.T) {
	gf := open(t)
	model, data := must(gf.NewModel(smallConfig(Grassmann), 1)), smallData(gf)
	want := must(model.Evaluate(data, 0)).Loss
	done, cancel := context.WithCancel(context.Background())
	defer cancel()
	for { // until one is under way when it is cancelled
		report, err := model.EvaluateContext(done, data, 1)
		if err != nil {
			wantEqual(t, []any{report, err}, []any{EvalReport{}, context.Canceled})
			break
		}
		go cancel()
	}
	_, err := model.EvaluateContext(done, data, 0)
	wantEqual(t, err, context.Canceled)
	wantEqual(t, must(model.Evaluate(data, 0)).Loss, want)

	late, cancelLate := context.WithTimeout(context.Background(), time.Minute)
	defer cancelLate()
	wantEqual(t, must(model.EvaluateContext(late, data, 0)).Loss, want)
}

// As where ctx is done at the moment at which an evaluation comes to its end.
func TestARequestThatComesTooLateIsTakenBack(t *testing.T) {
	gf := open(t)
	model, data := must(gf.NewModel(smallConfig(Grassmann), 1)), smallData(gf)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i := 0; i < 50; i++ {
		cancelWhenDone(ctx, gf.handle.context)()
		must(model.Evaluate(data, 0))
	}
}

func TestCheckpointContinuesBitForBit(t *testing.T) {
	gf := open(t)
	data, path := smallData(gf), filepath.Join(t.TempDir(), "checkpoint.safetensors")
	start := func(options TrainOptions) (*Trainer, error) {
		return must(gf.NewModel(smallConfig(Grassmann), 1)).NewTrainer(data, options)
	}
	want := losses(t, must(start(fewSteps(6))), 6)
	first, second := must(start(fewSteps(6))), must(start(fewSteps(6)))
	wantEqual(t, losses(t, first, 3), want[:3])
	wantEqual(t, first.SaveCheckpoint(path), nil)
	wantEqual(t, second.LoadCheckpoint(path), nil)
	wantEqual(t, losses(t, second, 9), want[3:])

	wantError(t, must(start(fewSteps(7))).LoadCheckpoint(path), ErrMismatch, "max_steps")
	options := fewSteps(1)
	options.BatchSize = 0
	_, err := start(options)
	wantError(t, err, ErrInvalidArgument, "batch_size")
}

func TestSaveAndLoad(t *testing.T) {
	gf := open(t)
	data, path := smallData(gf), filepath.Join(t.TempDir(), "model.safetensors")
	model := must(gf.NewModel(smallConfig(Transformer), 7))
	wantEqual(t, model.SetMetadata("tokenizer", "byte"), nil)
	wantEqual(t, model.Save(path), nil)
	loaded := must(gf.LoadModel(path))
	value, ok := loaded.Metadata("tokenizer")
	wantEqual(t, []any{value, ok}, []any{"byte", true})
	wantEqual(t, loaded.DeleteMetadata("tokenizer"), nil)
	_, ok = loaded.Metadata("tokenizer")
	wantEqual(t, ok, false)
	wantEqual(t, must(loaded.Evaluate(data, 0)).Loss, must(model.Evaluate(data, 0)).Loss)
	other := must(gf.NewModel(smallConfig(Grassmann), 7))
	wantError(t, other.LoadWeights(path), ErrMismatch, "")
	wantError(t, model.SetMetadata("gf.x", "y"), ErrInvalidArgument, "gf.")
}

func TestCloseInAnyOrder(t *testing.T) {
	gf := must(NewContext(ContextOptions{Threads: 1}))
	data := smallData(gf)
	model := must(gf.NewModel(smallConfig(Grassmann), 1))
	trainer := must(model.NewTrainer(data, fewSteps(2)))
	for _, handle := range []io.Closer{gf, data, model, model} {
		wantEqual(t, handle.Close(), nil)
	}
	wantEqual(t, len(losses(t, trainer, 9)), 2)
	_, err := model.Parameters()
	wantError(t, err, ErrInvalidArgument, "the model is closed")
	_, err = gf.NewModel(smallConfig(Grassmann), 1)
	wantError(t, err, ErrInvalidArgument, "the context is closed")
	wantEqual(t, trainer.Close(), nil)
	wantError(t, new(Model).Save("x"), ErrInvalidArgument, "zero value")
}

func TestGoroutinesTakeTurns(t *testing.T) {
	one, two := open(t), open(t)
	models := []*Model{must(one.NewModel(smallConfig(Grassmann), 1)),
		must(two.NewModel(smallConfig(Grassmann), 1))}
	data := []*Dataset{smallData(one), smallData(two)}
	want := must(models[0].Evaluate(data[0], 0)).Loss
	var group sync.WaitGroup
	for i := 0; i < 16; i++ {
		// Models and datasets of both contexts in every combination.
		model, dataset := models[i%2], data[i/2%2]
		group.Add(1)
		go func() {
			defer group.Done()
			if _, err := model.ReadParameter("none"); !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
			if report, err := model.Evaluate(dataset, 0); err != nil || report.Loss != want {
				t.Errorf("loss %g, %v: want %g", report.Loss, err, want)
			}
		}()
	}
	group.Wait()
}

func TestProfile(t *testing.T) {
	gf := open(t)
	wantEqual(t, gf.SetProfiling(true), nil)
	must(must(gf.NewModel(smallConfig(Grassmann), 1)).Forward([]int32{1, 2}, 1))
	entries := must(gf.Profile())
	if len(entries) == 0 || entries[0].Calls == 0 || entries[0].Name == "" {
		t.Errorf("%v: want at least one operation", entries)
	}
}
