package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// leastLikeness is how alike two flags are, at least, for one to be a misspelling of the other. 1 is equal.
const leastLikeness = 0.6

// flagError is bad usage, with the flag that an unknown one was meant to be.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if name := nearestFlag(cmd, unknown.GetSpecifiedName()); name != "" {
			err = fmt.Errorf("%w (did you mean --%s?)", err, name)
		}
	}
	var value *pflag.InvalidValueError
	if errors.As(err, &value) && strings.HasPrefix(value.GetFlag().Name, "grant-") {
		err = fmt.Errorf("--%s: %q is not an id, a number that GitLab shows on the page of the project or group", value.GetFlag().Name, value.GetValue())
	}
	return &statusError{code: statusUsage, err: fmt.Errorf("%w\n%s --help lists the flags", err, cmd.CommandPath())}
}

func nearestFlag(cmd *cobra.Command, name string) (nearest string) {
	best := leastLikeness
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		likeness := difflib.NewMatcher(strings.Split(name, ""), strings.Split(f.Name, "")).Ratio()
		if !f.Hidden && likeness > best {
			nearest, best = f.Name, likeness
		}
	})
	return nearest
}
