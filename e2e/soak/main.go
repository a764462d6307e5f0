// Command soak lets CI jobs start, work and end on a real kube-apiserver that asks two instances of jobgate, while a seeded
// schedule disturbs them: GitLab fails, certificates are renewed, the CA is rotated, the configuration changes, instances restart
// and are killed. At the end it prints what it has seen of each invariant, and fails if one was broken.
//
// It knows what jobs may expect of jobgate, and nothing about how jobgate does it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/jobgate/jobgate/e2e/process"
)

// options are the command line.
type options struct {
	length time.Duration
	seed   uint64
	jobs   int
}

// leastLength is enough for each kind of disturbance at least once.
const leastLength = 2 * time.Minute

func main() {
	var o options
	flag.DurationVar(&o.length, "length", 5*time.Minute, "how long jobs start and work, at least "+leastLength.String())
	flag.Uint64Var(&o.seed, "seed", 1, "of the schedule, of the jobs' lives and of their kinds")
	flag.IntVar(&o.jobs, "jobs", 150, "how many run at a time")
	flag.Parse()
	process.Main("soak", func(ctx context.Context) error { return soak(ctx, o) })
}

func soak(ctx context.Context, o options) (err error) {
	if o.length < leastLength || o.jobs < 1 {
		return fmt.Errorf("-length is %s, and must be at least %s; -jobs is %d, and must be at least 1", o.length, leastLength, o.jobs)
	}
	in, err := install(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	before, err := in.usage(ctx)
	if err != nil {
		return err
	}
	l := newLedger()
	working, end := context.WithTimeout(ctx, o.length)
	defer end()
	go l.tell(working, in)
	disturbed := make(chan error, 1)
	go func() { disturbed <- newSchedule(o.seed, in, l).run(working, o.length) }()
	w := newWorkload(o, in, l)
	if err := errors.Join(w.run(ctx, working), <-disturbed); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	in.idle()
	after, err := in.usage(ctx)
	if err != nil {
		return err
	}
	return l.report(os.Stdout, before, after, in.calls(), o.length)
}
