package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// State is how a check has ended.
type State string

// The states, from best to worst. A check that could not be made is no worse than the one that prevented it.
const (
	OK         State = "ok"
	NotChecked State = "not checked"
	Warning    State = "warning"
	Failure    State = "failure"
)

// Finding is the result of one check.
type Finding struct {
	Name    string   `json:"name"` // in one word
	State   State    `json:"state"`
	What    string   `json:"what"`              // what was found, in one line
	Do      string   `json:"do,omitempty"`      // what to do about it, in one line
	Details []string `json:"details,omitempty"` // what else may be the reason, or belongs to it; at most 12 lines
}

// Report is everything that was found.
type Report struct {
	State    State     `json:"state"` // the worst of the findings': ok, warning or failure
	Findings []Finding `json:"findings"`
	Job      *Job      `json:"job,omitempty"`      // as GitLab knows it
	Identity *Identity `json:"identity,omitempty"` // as the API server knows it
	Rights   []Right   `json:"rights,omitempty"`
}

// Job is who the job is, in GitLab's words.
type Job struct {
	ID              int64   `json:"id"`
	Pipeline        int64   `json:"pipeline"`
	Project         int64   `json:"project"`
	Groups          []int64 `json:"groups,omitempty"`
	User            int64   `json:"user"`
	Username        string  `json:"username"`
	EnvironmentSlug string  `json:"environmentSlug,omitempty"`
	EnvironmentTier string  `json:"environmentTier,omitempty"`
	Agents          []int64 `json:"agents"` // those that the job may use, whichever clusters they stand for
}

// Identity is who the API server says the job is.
type Identity struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

// Right is one thing that jobs often do, and whether this one may.
type Right struct {
	Verb      string `json:"verb"`
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Allowed   bool   `json:"allowed"`
	Reason    string `json:"reason,omitempty"`
}

// add takes a finding in.
func (r *Report) add(f Finding) {
	r.Findings = append(r.Findings, f)
	if f.State == Failure || (f.State == Warning && r.State == OK) {
		r.State = f.State
	}
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// sign is the state as a terminal shows it.
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

// word is the state as a log shows it.
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

// WriteText writes the report as a table for people: with signs for the states, or with words.
func (r *Report) WriteText(w io.Writer, withSigns bool) error {
	state := State.word
	if withSigns {
		state = State.sign
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Findings {
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
	_, err := fmt.Fprintf(w, "\n%s\n", r.summary())
	return err
}

// summary is the last line.
func (r *Report) summary() string {
	if r.State == OK {
		return "all is well"
	}
	count := map[State]int{}
	for _, f := range r.Findings {
		count[f.State]++
	}
	return fmt.Sprintf("%d failed, %d with a warning, %d not checked", count[Failure], count[Warning], count[NotChecked])
}
