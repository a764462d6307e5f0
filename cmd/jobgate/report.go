package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/jobgate/jobgate/internal/findings"
)

// statusFailed is the exit status if something has failed.
const statusFailed = 1

// The bounds of --timeout.
const (
	minReportTimeout = time.Second
	maxReportTimeout = 5 * time.Minute
)

// reportOptions are how a report of findings is made and written.
type reportOptions struct {
	output        string
	ascii         bool
	failOnWarning bool
	timeout       time.Duration
}

func (o *reportOptions) add(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVar(&o.ascii, "ascii", false, "write words instead of signs (default if the output is not a terminal, or TERM is dumb)")
	f.BoolVar(&o.failOnWarning, "fail-on-warning", false, "exit with status 1 after a warning, too")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long all checks together may take, from 1s to 5m")
}

func (o *reportOptions) check() error {
	switch {
	case o.output != "text" && o.output != "json":
		return fmt.Errorf("--output is %q: give text or json", o.output)
	case o.timeout < minReportTimeout || o.timeout > maxReportTimeout:
		return fmt.Errorf("--timeout is %s: give %s to %s", o.timeout, minReportTimeout, maxReportTimeout)
	}
	return nil
}

// write writes the report; as text, the list of findings in it. The error has the exit status, if it is not 0.
func (o *reportOptions) write(out io.Writer, report any, l *findings.List) error {
	var err error
	if o.output == "text" {
		err = l.WriteText(out, !o.ascii && isTerminal(out))
	} else {
		err = writeJSON(out, report)
	}
	if err != nil {
		return err
	}
	return o.result(l.State)
}

// result is an error if the report is one of a failure.
func (o *reportOptions) result(worst findings.State) error {
	if worst == findings.Failure || (worst == findings.Warning && o.failOnWarning) {
		return &statusError{code: statusFailed}
	}
	return nil
}

// isTerminal says whether the output is likely to show signs beyond ASCII.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
