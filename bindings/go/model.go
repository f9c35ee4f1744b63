package grassflow

// #include <grassflow.h>
import "C"

import (
	"context"
	"math"
)

// Parameter is the name and shape of one parameter.
type Parameter struct {
	Name  string // as in PyTorch's state_dict, such as "blocks.0.grassmann.W_red.weight"
	Shape []int  // one or two extents, outermost first
}

// Count is the number of values.
func (p Parameter) Count() int {
	count := 1
	for _, extent := range p.Shape {
		count *= extent
	}
	return count
}

// EvalReport is what an evaluation found.
type EvalReport struct {
	Loss          float64   // mean cross-entropy over all predicted tokens, or over all pairs, nats
	Perplexity    float64   // exp(Loss)
	Sequences     int       // chunks or pairs
	Tokens        int       // predicted tokens: Sequences * (length - 1); of pairs all ids
	Seconds       float64   // wall-clock time
	Accuracy      float64   // share of the pairs whose class has the largest logit; 0: language model
	ClassCounts   []int     // pairs of each class; empty for a language model, like what follows
	ClassAccuracy []float64 // share of a class's pairs that are predicted so; 0: there are none
	Confusion     [][]int   // [i][j]: pairs of class i predicted as class j
}

// Model is the parameters of one model on a context's device.
type Model struct {
	handle handle[*C.gf_model]
}

func freeModel(raw *C.gf_model) {
	C.gf_model_free(raw)
}

// NewModel makes a model with fresh weights; equal seeds give equal weights on every device. It
// fails with [ErrInvalidArgument], which names the field, or [ErrOutOfMemory].
func (c *Context) NewModel(config ModelConfig, seed uint64) (*Model, error) {
	raw, err := config.raw()
	if err != nil {
		return nil, err
	}
	h, err := create(&c.handle, "model", freeModel,
		func(context *C.gf_context, out **C.gf_model) C.gf_status {
			return C.gf_model_create(context, &raw, C.uint64_t(seed), out)
		})
	if err != nil {
		return nil, err
	}
	return &Model{h}, nil
}

// LoadModel loads what [Model.Save] or [Trainer.SaveCheckpoint] wrote. It fails with [ErrNotFound],
// [ErrIO], [ErrFormat] or [ErrMismatch], which names the tensor and both shapes.
func (c *Context) LoadModel(path string) (*Model, error) {
	cPath, err := newText("path", path)
	if err != nil {
		return nil, err
	}
	defer cPath.free()
	h, err := create(&c.handle, "model", freeModel,
		func(context *C.gf_context, out **C.gf_model) C.gf_status {
			return C.gf_model_load(context, cPath.raw, out)
		})
	if err != nil {
		return nil, err
	}
	return &Model{h}, nil
}

// LoadWeights reads the weights of a file of the same shape, for example one that PyTorch wrote. It
// fails like [Context.LoadModel], the weights untouched.
func (m *Model) LoadWeights(path string) error {
	cPath, err := newText("path", path)
	if err != nil {
		return err
	}
	defer cPath.free()
	return m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_load_weights(raw, cPath.raw)
	})
}

// Save writes weights, configuration and metadata as safetensors; an earlier file stays whole if
// anything fails. It fails with [ErrIO].
func (m *Model) Save(path string) error {
	cPath, err := newText("path", path)
	if err != nil {
		return err
	}
	defer cPath.free()
	return m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_save(raw, cPath.raw)
	})
}

// Close frees the model.
func (m *Model) Close() error {
	return m.handle.close()
}

// Config is the configuration the model was made with.
func (m *Model) Config() (ModelConfig, error) {
	config := C.gf_model_config{struct_size: C.sizeof_gf_model_config}
	err := m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_get_config(raw, &config)
	})
	return configFrom(&config), err
}

// SetMetadata attaches a text that checkpoints will carry. Keys that begin with "gf." are the
// library's own.
func (m *Model) SetMetadata(key, value string) error {
	cKey, err := newText("key", key)
	if err != nil {
		return err
	}
	defer cKey.free()
	cValue, err := newText("value", value)
	if err != nil {
		return err
	}
	defer cValue.free()
	return m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_set_metadata(raw, cKey.raw, cValue.raw)
	})
}

// DeleteMetadata removes a text.
func (m *Model) DeleteMetadata(key string) error {
	cKey, err := newText("key", key)
	if err != nil {
		return err
	}
	defer cKey.free()
	return m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_set_metadata(raw, cKey.raw, nil)
	})
}

// Metadata is a text attached to the model, if there is one.
func (m *Model) Metadata(key string) (value string, ok bool) {
	cKey, err := newText("key", key)
	if err != nil {
		return "", false
	}
	defer cKey.free()
	_ = m.handle.call(func(raw *C.gf_model) C.gf_status {
		if text := C.gf_model_metadata(raw, cKey.raw); text != nil {
			value, ok = C.GoString(text), true
		}
		return C.GF_OK
	})
	return value, ok
}

// Parameters is the names and shapes of the parameters, in their fixed order.
func (m *Model) Parameters() ([]Parameter, error) {
	call := func(out *C.gf_parameter, capacity C.size_t, count *C.size_t) error {
		return m.handle.call(func(raw *C.gf_model) C.gf_status {
			return C.gf_model_parameters(raw, out, capacity, count)
		})
	}
	raw, err := fill(C.gf_parameter{struct_size: C.sizeof_gf_parameter}, 128, call)
	parameters := make([]Parameter, len(raw))
	for i := range raw {
		parameters[i].Name = C.GoString(&raw[i].name[0])
		for _, extent := range raw[i].shape[:raw[i].dims] {
			parameters[i].Shape = append(parameters[i].Shape, int(extent))
		}
	}
	return parameters, err
}

// ReadParameter copies one parameter out, row-major. It fails with [ErrNotFound].
func (m *Model) ReadParameter(name string) ([]float32, error) {
	parameters, err := m.Parameters()
	if err != nil {
		return nil, err
	}
	var values []float32
	for _, parameter := range parameters {
		if parameter.Name == name {
			values = make([]float32, parameter.Count())
		}
	}
	return values, m.ReadParameterInto(name, values) // which knows what to say of an unknown name
}

// ReadParameterInto copies one parameter into a slice of exactly its size. It fails with
// [ErrNotFound] or [ErrInvalidArgument], which says the size.
func (m *Model) ReadParameterInto(name string, values []float32) error {
	cName, err := newText("name", name)
	if err != nil {
		return err
	}
	defer cName.free()
	return m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_read_parameter(raw, cName.raw, (*C.float)(first(values)),
			C.size_t(len(values)))
	})
}

// WriteParameter replaces one parameter by as many values, row-major. It fails like
// [Model.ReadParameterInto].
func (m *Model) WriteParameter(name string, values []float32) error {
	cName, err := newText("name", name)
	if err != nil {
		return err
	}
	defer cName.free()
	return m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_write_parameter(raw, cName.raw, (*C.float)(first(values)),
			C.size_t(len(values)))
	})
}

// Forward is the logits [B, T, V] of every position of ids [B, T], without dropout. It fails with
// [ErrInvalidArgument], which names the id and its place, or the size.
func (m *Model) Forward(ids []int32, batchSize int) ([]float32, error) {
	config, err := m.Config()
	if err != nil {
		return nil, err
	}
	logits := make([]float32, len(ids)*config.VocabSize)
	if err := m.ForwardInto(ids, batchSize, logits); err != nil {
		return nil, err
	}
	return logits, nil
}

// ForwardInto is [Model.Forward] into a slice of B * T * V values.
func (m *Model) ForwardInto(ids []int32, batchSize int, logits []float32) error {
	config, err := m.Config()
	if err != nil {
		return err
	}
	length, err := sequenceLength(ids, batchSize)
	if err != nil {
		return err
	}
	if len(logits) != len(ids)*config.VocabSize {
		return invalidArgument("logits has %d values, expected %d", len(logits),
			len(ids)*config.VocabSize)
	}
	return m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_forward(raw, (*C.int32_t)(first(ids)), C.int32_t(batchSize), length,
			(*C.float)(first(logits)))
	})
}

// Classify is the logits [B, C] of a classifier's C classes for sequences [B, T], without dropout;
// lengths [B] are the ids that count of each, nil: all. It fails with [ErrInvalidArgument], which
// names the id or length and its place, or the size.
func (m *Model) Classify(ids, lengths []int32, batchSize int) ([]float32, error) {
	config, err := m.Config()
	if err != nil {
		return nil, err
	}
	length, err := sequenceLength(ids, batchSize)
	if err != nil {
		return nil, err
	}
	var counted *C.int32_t
	if lengths != nil {
		if len(lengths) != batchSize {
			return nil, invalidArgument("%d lengths, expected %d", len(lengths), batchSize)
		}
		counted = (*C.int32_t)(first(lengths))
	}
	logits := make([]float32, batchSize*config.NumClasses)
	err = m.handle.call(func(raw *C.gf_model) C.gf_status {
		return C.gf_model_classify(raw, (*C.int32_t)(first(ids)), counted, C.int32_t(batchSize),
			length, (*C.float)(first(logits)))
	})
	return logits, err
}

// sequenceLength is T of ids [B, T].
func sequenceLength(ids []int32, batchSize int) (C.int32_t, error) {
	if batchSize < 1 || len(ids) == 0 || len(ids)%batchSize != 0 || len(ids) > math.MaxInt32 {
		return 0, invalidArgument("%d ids are no %d sequences of equal length", len(ids), batchSize)
	}
	return C.int32_t(len(ids) / batchSize), nil
}

// Evaluate is the mean loss over a dataset, without dropout, batchSize sequences at a time; 0: 32.
// Of a classifier it also says how often it is right. It fails with [ErrInvalidArgument] or
// [ErrOutOfMemory].
func (m *Model) Evaluate(dataset *Dataset, batchSize int) (EvalReport, error) {
	return m.EvaluateContext(context.Background(), dataset, batchSize)
}

// EvaluateContext is [Model.Evaluate], but when ctx is done it returns ctx's error after the batch
// under way.
func (m *Model) EvaluateContext(ctx context.Context, dataset *Dataset,
	batchSize int) (EvalReport, error) {
	if err := ctx.Err(); err != nil {
		return EvalReport{}, err
	}
	raw := C.gf_eval_report{struct_size: C.sizeof_gf_eval_report}
	var status C.gf_status
	err := callBoth(&m.handle, &dataset.handle,
		func(model *C.gf_model, dataset *C.gf_dataset) C.gf_status {
			defer cancelWhenDone(ctx, m.handle.context)()
			status = C.gf_eval(model, dataset, int32Of(batchSize), &raw)
			return status
		})
	if status == C.GF_CANCELLED {
		return EvalReport{}, ctx.Err()
	}
	report := EvalReport{
		Loss:        float64(raw.loss),
		Perplexity:  float64(raw.perplexity),
		Sequences:   int(raw.sequences),
		Tokens:      int(raw.tokens),
		Seconds:     float64(raw.seconds),
		Accuracy:    float64(raw.accuracy),
		ClassCounts: counts(raw.class_counts[:raw.num_classes]),
	}
	for class := range report.ClassCounts {
		report.ClassAccuracy = append(report.ClassAccuracy, float64(raw.class_accuracy[class]))
		report.Confusion = append(report.Confusion, counts(raw.confusion[class][:raw.num_classes]))
	}
	return report, err
}

// cancelWhenDone cancels the evaluation on a context, within its turn, when ctx is done, until stop
// is called, after which no request is left behind.
func cancelWhenDone(ctx context.Context, raw *C.gf_context) (stop func()) {
	if ctx.Done() == nil { // never
		return func() {}
	}
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			C.gf_context_cancel(raw, 1)
		case <-ended:
		}
	}()
	return func() {
		close(ended)
		<-stopped
		C.gf_context_cancel(raw, 0)
	}
}
