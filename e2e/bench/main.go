// Command bench measures what jobgate costs: it runs every Go benchmark of the repository, and asks a real kube-apiserver as a
// CI job and with a ServiceAccount's token. It prints one table and writes the figures as JSON beside it. With -docs it also
// writes docs/performance.md, its pictures and the README's figures. It fails when a figure misses its goal
// for which a busy machine is no excuse.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/process"
)

func main() { process.Main("bench", run) }

type options struct {
	output string
	from   string
	docs   bool
	rounds int
	slice  time.Duration
}

func parse() (options, error) {
	var o options
	flag.StringVar(&o.output, "output", "../bin/bench.json", "where to write the figures")
	flag.StringVar(&o.from, "from", "", "a file of figures to show again, instead of measuring")
	flag.BoolVar(&o.docs, "docs", false, "write docs/performance.md, its pictures and the README's figures, too")
	flag.IntVar(&o.rounds, "rounds", 11, "how often the users of the API server take turns; the median counts")
	// Whole seconds: the API server forgets a judgement after one, and a turn begins with one that is forgotten.
	flag.DurationVar(&o.slice, "slice", 2*time.Second, "how long a turn lasts")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag; see -help", flag.Arg(0))
	}
	if o.rounds < 1 || o.rounds > 100 || o.slice < 100*time.Millisecond || o.slice > time.Minute {
		return o, errors.New("there are from 1 to 100 rounds, and a turn lasts from 100ms to 1m")
	}
	return o, nil
}

func run(ctx context.Context) error {
	o, err := parse()
	if err != nil {
		return err
	}
	r, err := figures(ctx, o)
	if err != nil {
		return err
	}
	fmt.Print(r.table())
	if o.docs {
		if err := r.writeDocs(".."); err != nil {
			return err
		}
	}
	return r.missed()
}

// figures are measured, or read from a file.
func figures(ctx context.Context, o options) (*report, error) {
	r := &report{}
	if o.from != "" {
		text, err := os.ReadFile(o.from)
		if err != nil {
			return nil, fmt.Errorf("read the figures: %w", err)
		}
		return r, json.Unmarshal(text, r)
	}
	r.describe(ctx)
	fmt.Fprintln(os.Stderr, "Go benchmarks ...")
	var err error
	if r.Benchmarks, err = goBenchmarks(ctx, ".."); err != nil {
		return nil, err
	}
	set, err := binaries.Build(ctx, binaries.Options{Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "requests through kube-apiserver ...")
	if err := r.measureCluster(ctx, set, o); err != nil {
		return nil, err
	}
	r.Took = time.Since(r.Time).Round(time.Second).String()
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the figures: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(o.output), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the figures: %w", err)
	}
	return r, writeFile(o.output, append(text, '\n'))
}

func writeFile(name string, text []byte) error {
	if err := os.WriteFile(name, text, 0o644); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
