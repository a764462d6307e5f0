// Command build builds every program that the end-to-end tests and the demo need, so that neither has to.
package main

import (
	"context"
	"os"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/process"
)

func main() { process.Main("build", build) }

func build(ctx context.Context) error {
	for _, race := range []bool{true, false} {
		if _, err := binaries.Build(ctx, binaries.Options{Race: race, Progress: os.Stderr}); err != nil {
			return err
		}
	}
	return nil
}
