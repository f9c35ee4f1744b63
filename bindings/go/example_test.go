package grassflow_test

import (
	"errors"
	"fmt"
	"log"

	"grassflow"
)

func ExampleTokenizer_Encode() {
	gf, err := grassflow.NewContext(grassflow.ContextOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer gf.Close()
	bytes, err := gf.LoadTokenizer("byte", "")
	if err != nil {
		log.Fatal(err)
	}
	defer bytes.Close()
	ids, err := bytes.Encode("flow", grassflow.OmitSpecial)
	fmt.Println(ids, err)
	// Output: [102 108 111 119] <nil>
}

func ExampleStatus() {
	_, err := grassflow.NewContext(grassflow.ContextOptions{Device: "abacus"})
	fmt.Println(errors.Is(err, grassflow.ErrInvalidArgument))
	fmt.Println(err)
	// Output:
	// true
	// grassflow: device is "abacus", expected cpu, cuda, cuda:N or auto
}
