// Package findings is what a program that looks for faults reports: for each check what was found and what to do about it, as
// a table for people or as JSON.
package findings

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// State is the result of a check.
type State string

// The states, from best to worst. A check that could not be made is not worse than the one that prevented it.
const (
	OK         State = "ok"
	NotChecked State = "not checked"
	Warning    State = "warning"
	Failure    State = "failure"
)

// Bounds of a report: characters of a line, and lines of details.
const (
	MaxLine    = 1200
	maxDetails = 12
)

// Finding is the result of one check.
type Finding struct {
	Name    string   `json:"name"` // in one word
	State   State    `json:"state"`
	What    string   `json:"what"`              // what was found, in one line
	Do      string   `json:"do,omitempty"`      // what to do about it, in one line
	Details []string `json:"details,omitempty"` // possible reasons, or more about what was found; at most 12 lines
}

// NotChecked is the finding of a check that could not be made.
func (f Finding) NotChecked(why string) Finding {
	f.State, f.What = NotChecked, "not checked: "+why
	return f
}

// Failed is the finding with a failure.
func (f Finding) Failed(what, do string) Finding {
	f.State, f.What, f.Do = Failure, what, do
	return f
}

// Warned is the finding with a warning.
func (f Finding) Warned(what, do string) Finding {
	f.State, f.What, f.Do = Warning, what, do
	return f
}

// Well is the finding of a check without objection.
func (f Finding) Well(what string) Finding {
	f.State, f.What = OK, what
	return f
}

// Clean makes a finding fit for the report: parts of its texts come from elsewhere, and line makes a text safe.
func (f Finding) Clean(line func(string) string) Finding {
	f.What, f.Do = line(f.What), line(f.Do)
	f.Details = slices.Clone(f.Details[:min(len(f.Details), maxDetails)])
	for i, text := range f.Details {
		f.Details[i] = line(text)
	}
	return f
}

// List is the results of all checks, in their order.
type List struct {
	State    State     `json:"state"` // the worst of all findings: ok, warning or failure
	Findings []Finding `json:"findings"`
}

// Add adds a finding.
func (l *List) Add(f Finding) {
	if l.State == "" {
		l.State = OK
	}
	l.Findings = append(l.Findings, f)
	if f.State == Failure || (f.State == Warning && l.State == OK) {
		l.State = f.State
	}
}

// sign is how a terminal shows the state.
func (s State) sign() string {
	switch s {
	case OK:
		return "✓"
	case Warning:
		return "!"
	case Failure:
		return "✗"
	default:
		return "-"
	}
}

// word is how a log shows the state.
func (s State) word() string {
	switch s {
	case Failure:
		return "failed"
	case NotChecked:
		return "-"
	default:
		return string(s)
	}
}

// WriteText writes the list as a table, with signs or words for the states.
func (l *List) WriteText(w io.Writer, withSigns bool) error {
	state := State.word
	if withSigns {
		state = State.sign
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range l.Findings {
		fmt.Fprintf(t, "%s\t%s\t%s\n", state(f.State), f.Name, f.What)
		for _, d := range f.Details {
			fmt.Fprintf(t, "\t\t  %s\n", d)
		}
		if f.Do != "" {
			fmt.Fprintf(t, "\t\t  do: %s\n", f.Do)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", l.summary())
	return err
}

// summary is the last line.
func (l *List) summary() string {
	if l.State == OK {
		return "all is well"
	}
	count := map[State]int{}
	for _, f := range l.Findings {
		count[f.State]++
	}
	rest := fmt.Sprintf("%d with a warning, %d not checked", count[Warning], count[NotChecked])
	if l.State == Warning {
		return "nothing has failed; " + rest
	}
	return fmt.Sprintf("%d failed, %s", count[Failure], rest)
}
