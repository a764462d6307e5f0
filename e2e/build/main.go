// Command build builds every program that the end-to-end tests and the demo need, so that neither has to.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/jobgate/jobgate/e2e/binaries"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, race := range []bool{true, false} {
		if _, err := binaries.Build(ctx, binaries.Options{Race: race, Progress: os.Stderr}); err != nil {
			fmt.Fprintln(os.Stderr, "build:", err)
			os.Exit(1)
		}
	}
}
