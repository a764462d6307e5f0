// Command flood runs the real jobgate, with its default configuration and mutual TLS, between a fake GitLab and a client
// that asks as kube-apiserver does. Running jobs work, new jobs log in, and one attacker does what it can. Each second is
// one line; the end is a table of what was reached. The exit status is 1 if a running job was refused.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jobgate/jobgate/e2e/process"
)

func main() { process.Main("flood", run) }

// options are the command line's.
type options struct {
	jobgate string
	attack  string
	length  time.Duration
	scale   float64
}

func parse() (options, error) {
	var o options
	flag.StringVar(&o.jobgate, "jobgate", "../bin/jobgate", "the program to run")
	flag.StringVar(&o.attack, "attack", "unknown-tokens", "one of "+strings.Join(attackNames(), ", "))
	flag.DurationVar(&o.length, "length", time.Minute, "how long the attack lasts")
	flag.Float64Var(&o.scale, "scale", 1, "multiplies the attacker's rate, for a trial on a slow machine")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag; see -help", flag.Arg(0))
	}
	if o.length < time.Second || o.length > time.Hour || o.scale <= 0 || o.scale > 10 {
		return o, errors.New("the length must be from 1s to 1h, and the scale above 0 and at most 10")
	}
	return o, nil
}

func run(ctx context.Context) (err error) {
	o, err := parse()
	if err != nil {
		return err
	}
	chosen, err := findAttack(o.attack)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s\n%s", chosen.name, chosen.what, machine())
	in, err := install(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	result, err := play(ctx, in, chosen, o)
	if err != nil {
		return err
	}
	fmt.Print(result)
	if refused := result.running.failed; refused > 0 {
		return fmt.Errorf("%d requests of running jobs were refused; the latest: %w", refused, result.running.latest)
	}
	return nil
}

// machine describes what the figures were measured on.
func machine() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("the machine's load before the start: %s\n", strings.Join(strings.Fields(string(load))[:3], " "))
}
