// Command train_steps does twenty steps on the sample corpus: it prints, digit for digit, what
// examples/train_steps.c prints.
package main

import (
	"context"
	"fmt"
	"os"

	"grassflow"
)

const (
	textBytes     = 50_000
	length        = 64
	heldOutChunks = 80
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: train_steps MODEL.safetensors")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "train_steps:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	gf, err := grassflow.NewContext(grassflow.ContextOptions{})
	if err != nil {
		return err
	}
	defer gf.Close()
	tokenizer, err := gf.LoadTokenizer("byte", "")
	if err != nil {
		return err
	}
	defer tokenizer.Close()
	train, heldOut, err := datasets(gf, tokenizer)
	if err != nil {
		return err
	}
	defer train.Close()
	defer heldOut.Close()

	config := grassflow.NewModelConfig(grassflow.Grassmann)
	config.VocabSize, config.MaxSeqLen = tokenizer.VocabSize(), length
	config.NumLayers, config.ModelDim, config.FFDim = 2, 64, 256
	model, err := gf.NewModel(config, 1)
	if err != nil {
		return err
	}
	defer model.Close()

	options := grassflow.DefaultTrainOptions()
	options.MaxSteps, options.WarmupSteps, options.LR = 20, 5, 3e-3
	trainer, err := model.NewTrainer(train, options)
	if err != nil {
		return err
	}
	defer trainer.Close()
	err = trainer.Train(context.Background(), func(report grassflow.TrainReport) {
		fmt.Printf("step %2d  loss %.12f\n", report.Step, report.Loss)
	})
	if err != nil {
		return err
	}

	if err := printHeldOut(model, heldOut); err != nil {
		return err
	}
	if err := model.Save(path); err != nil {
		return err
	}
	loaded, err := gf.LoadModel(path)
	if err != nil {
		return err
	}
	defer loaded.Close()
	return printHeldOut(loaded, heldOut)
}

func datasets(gf *grassflow.Context, tokenizer *grassflow.Tokenizer) (train, heldOut *grassflow.Dataset,
	err error) {
	text, err := gf.SampleText(1, textBytes)
	if err != nil {
		return nil, nil, err
	}
	ids, err := tokenizer.Encode(text, grassflow.KeepSpecial)
	if err != nil {
		return nil, nil, err
	}
	all, err := gf.DatasetFromIDs(ids, length)
	if err != nil {
		return nil, nil, err
	}
	defer all.Close()
	info, err := all.Info()
	if err != nil {
		return nil, nil, err
	}
	if train, err = all.Slice(0, info.Chunks-heldOutChunks); err != nil {
		return nil, nil, err
	}
	heldOut, err = all.Slice(info.Chunks-heldOutChunks, info.Chunks)
	return train, heldOut, err
}

func printHeldOut(model *grassflow.Model, heldOut *grassflow.Dataset) error {
	report, err := model.Evaluate(heldOut, 0)
	if err == nil {
		fmt.Printf("held-out loss %.12f  perplexity %.12f\n", report.Loss, report.Perplexity)
	}
	return err
}
