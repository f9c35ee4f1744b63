package main

import (
	"context"
	"fmt"
	"log"

	"grassflow"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	gf := must(grassflow.NewContext(grassflow.ContextOptions{}))
	bytes, text := must(gf.LoadTokenizer("byte", "")), must(gf.SampleText(1, 50_000))
	data := must(gf.DatasetFromIDs(must(bytes.Encode(text, grassflow.OmitSpecial)), 64))
	config, options := grassflow.NewModelConfig(grassflow.Grassmann), grassflow.DefaultTrainOptions()
	config.VocabSize, config.ModelDim = 256, 64
	options.MaxSteps, options.WarmupSteps, options.LR = 20, 5, 3e-3
	model := must(gf.NewModel(config, 1))
	show := func(report grassflow.TrainReport) { fmt.Printf("loss %.4f\n", report.Loss) }
	if err := must(model.NewTrainer(data, options)).Train(context.Background(), show); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("perplexity %.1f\n", must(model.Evaluate(must(data.Slice(0, 80)), 0)).Perplexity)
	if err := model.Save("model.safetensors"); err != nil {
		log.Fatal(err)
	}
}
