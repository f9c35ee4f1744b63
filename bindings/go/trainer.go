package grassflow

// #include <grassflow.h>
import "C"

import (
	"context"
	"io"
)

// Schedule is the shape of the learning rate after the warm-up.
type Schedule int

const (
	// Cosine: from LR to MinLR, which the last step reaches.
	Cosine Schedule = C.GF_SCHEDULE_COSINE
	// CosineEpoch: cosine over epochs, constant inside each.
	CosineEpoch Schedule = C.GF_SCHEDULE_COSINE_EPOCH
	// Constant: LR.
	Constant Schedule = C.GF_SCHEDULE_CONSTANT
)

// TrainOptions is the optimizer (AdamW) and its schedule. Begin with [DefaultTrainOptions].
type TrainOptions struct {
	BatchSize   int     // sequences of a step; the last of an epoch may be short
	Epochs      int     // passes over the dataset
	MaxSteps    int     // ends training after so many steps; 0: epochs decide
	LR          float64 // highest learning rate
	MinLR       float64 // last learning rate of the cosine
	WarmupSteps int     // steps of linear growth from LR / (WarmupSteps + 1)
	Schedule    Schedule
	Beta1       float64 // decay of the first moment
	Beta2       float64 // decay of the second moment
	Epsilon     float64 // added to the root of the second moment
	WeightDecay float64 // of every parameter
	GradClip    float64 // largest global gradient norm; 0: no clipping
	Seed        uint64  // of the shuffle and of dropout
}

// DefaultTrainOptions is the study's recipe.
func DefaultTrainOptions() TrainOptions {
	var raw C.gf_train_options
	C.gf_train_options_init(&raw)
	return TrainOptions{
		BatchSize:   int(raw.batch_size),
		Epochs:      int(raw.epochs),
		MaxSteps:    int(raw.max_steps),
		LR:          float64(raw.lr),
		MinLR:       float64(raw.min_lr),
		WarmupSteps: int(raw.warmup_steps),
		Schedule:    Schedule(raw.schedule),
		Beta1:       float64(raw.beta1),
		Beta2:       float64(raw.beta2),
		Epsilon:     float64(raw.epsilon),
		WeightDecay: float64(raw.weight_decay),
		GradClip:    float64(raw.grad_clip),
		Seed:        uint64(raw.seed),
	}
}

func (o *TrainOptions) raw() C.gf_train_options {
	return C.gf_train_options{
		struct_size:  C.sizeof_gf_train_options,
		batch_size:   int32Of(o.BatchSize),
		epochs:       int32Of(o.Epochs),
		max_steps:    C.int64_t(o.MaxSteps),
		lr:           C.double(o.LR),
		min_lr:       C.double(o.MinLR),
		warmup_steps: C.int64_t(o.WarmupSteps),
		schedule:     C.gf_schedule(o.Schedule),
		beta1:        C.double(o.Beta1),
		beta2:        C.double(o.Beta2),
		epsilon:      C.double(o.Epsilon),
		weight_decay: C.double(o.WeightDecay),
		grad_clip:    C.double(o.GradClip),
		seed:         C.uint64_t(o.Seed),
	}
}

// TrainReport is what a step did.
type TrainReport struct {
	Step         int     // steps done, this one included
	TotalSteps   int     // steps of the whole training
	Epoch        int     // epoch of this step, from 0
	Loss         float64 // mean cross-entropy of the batch before the update, nats
	GradientNorm float64 // global L2 norm before clipping
	LearningRate float64 // of this step's update
	Tokens       int     // ids of the batch, padding left out
	Seconds      float64 // wall-clock time of this step
}

// TrainState is where training stands.
type TrainState struct {
	Step          int     // steps done
	TotalSteps    int     // steps of the whole training
	StepsPerEpoch int     // steps of one epoch
	Epoch         int     // epoch of the next step, from 0
	EpochLoss     float64 // mean loss of the steps of the epoch of the last step
	Tokens        int     // ids of the batches of all steps done, padding left out
}

// Trainer is a model in training. The model may be evaluated, saved and read between steps.
type Trainer struct {
	handle handle[*C.gf_trainer]
}

// NewTrainer allocates all that training needs, on chunks for a language model and on pairs for a
// classifier. It fails with [ErrInvalidArgument], which names the option, or the id or label and
// its place, or with [ErrOutOfMemory].
func (m *Model) NewTrainer(dataset *Dataset, options TrainOptions) (*Trainer, error) {
	raw := options.raw()
	free := func(raw *C.gf_trainer) { C.gf_trainer_free(raw) }
	h, err := createFromBoth(&m.handle, &dataset.handle, "trainer", free,
		func(model *C.gf_model, dataset *C.gf_dataset, out **C.gf_trainer) C.gf_status {
			return C.gf_trainer_create(model, dataset, &raw, out)
		})
	if err != nil {
		return nil, err
	}
	return &Trainer{h}, nil
}

// Close ends training; the model stays.
func (t *Trainer) Close() error {
	return t.handle.close()
}

// Step is one step: next batch, forward, backward, clip, AdamW. The error is [io.EOF] when no step
// is left; it fails with [ErrNotFinite], the weights those before the step.
func (t *Trainer) Step() (TrainReport, error) {
	raw := C.gf_train_report{struct_size: C.sizeof_gf_train_report}
	if err := t.step(&raw); err != nil {
		return TrainReport{}, err
	}
	return TrainReport{int(raw.step), int(raw.total_steps), int(raw.epoch), float64(raw.loss),
		float64(raw.gradient_norm), float64(raw.learning_rate), int(raw.tokens),
		float64(raw.seconds)}, nil
}

// StepWithoutReport is [Trainer.Step] without its outcome. On a GPU it returns at once and steps
// queue up; an error of one of them is returned by a later call.
func (t *Trainer) StepWithoutReport() error {
	return t.step(nil)
}

func (t *Trainer) step(report *C.gf_train_report) error {
	var status C.gf_status
	err := t.handle.call(func(raw *C.gf_trainer) C.gf_status {
		status = C.gf_train_step(raw, report)
		return status
	})
	if status == C.GF_END {
		return io.EOF
	}
	return err
}

// Train does all steps that are left and calls progress, unless it is nil, after each. When ctx is
// done it returns ctx's error after the step under way is complete, and training can go on or be
// saved.
//
// Progress runs between the calls of the library, not inside one: it may use the model, and cancel.
func (t *Trainer) Train(ctx context.Context, progress func(TrainReport)) error {
	for ctx.Err() == nil {
		report, err := t.Step()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if progress != nil {
			progress(report)
		}
	}
	return ctx.Err()
}

// State is where training stands; it waits for steps that are queued.
func (t *Trainer) State() (TrainState, error) {
	state := C.gf_train_state{struct_size: C.sizeof_gf_train_state}
	err := t.handle.call(func(raw *C.gf_trainer) C.gf_status {
		return C.gf_trainer_get_state(raw, &state)
	})
	return TrainState{int(state.step), int(state.total_steps), int(state.steps_per_epoch),
		int(state.epoch), float64(state.epoch_loss), int(state.tokens)}, err
}

// SaveCheckpoint writes all that is needed to go on, bit-equal to never having stopped; an earlier
// file stays whole if anything fails. It fails with [ErrIO].
func (t *Trainer) SaveCheckpoint(path string) error {
	cPath, err := newText("path", path)
	if err != nil {
		return err
	}
	defer cPath.free()
	return t.handle.call(func(raw *C.gf_trainer) C.gf_status {
		return C.gf_checkpoint_save(raw, cPath.raw)
	})
}

// LoadCheckpoint goes on from a checkpoint of a trainer with the same configuration, data and
// options. It fails with [ErrNotFound], [ErrIO], [ErrFormat] or [ErrMismatch], the trainer
// untouched.
func (t *Trainer) LoadCheckpoint(path string) error {
	cPath, err := newText("path", path)
	if err != nil {
		return err
	}
	defer cPath.free()
	return t.handle.call(func(raw *C.gf_trainer) C.gf_status {
		return C.gf_checkpoint_load(raw, cPath.raw)
	})
}
