package doctor

import (
	"encoding/json"
	"fmt"
	"io"
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

// Finding is the result of one check.
type Finding struct {
	Name    string   `json:"name"` // in one word
	State   State    `json:"state"`
	What    string   `json:"what"`              // what was found, in one line
	Do      string   `json:"do,omitempty"`      // what to do about it, in one line
	Details []string `json:"details,omitempty"` // possible reasons, or more about what was found; at most 12 lines
}

// Report is everything that was found.
type Report struct {
	State    State     `json:"state"` // the worst of all findings: ok, warning or failure
	Findings []Finding `json:"findings"`
	Job      *Job      `json:"job,omitempty"`      // as GitLab knows it
	Identity *Identity `json:"identity,omitempty"` // as the API server knows it
	Rights   []Right   `json:"rights,omitempty"`
}

// Job is the job as GitLab knows it.
type Job struct {
	ID              int64   `json:"id"`
	Pipeline        int64   `json:"pipeline"`
	Project         int64   `json:"project"`
	Groups          []int64 `json:"groups,omitempty"`
	User            int64   `json:"user"`
	Username        string  `json:"username"`
	EnvironmentSlug string  `json:"environmentSlug,omitempty"`
	EnvironmentTier string  `json:"environmentTier,omitempty"`
	Agents          []int64 `json:"agents"` // that the job may use, of any cluster
}

// Identity is the job as the API server knows it.
type Identity struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

// Right is something that deployments often do, and whether this job may.
type Right struct {
	Verb      string `json:"verb"`
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Allowed   bool   `json:"allowed"`
	Reason    string `json:"reason,omitempty"`
}

// add adds a finding.
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

// WriteText writes the report as a table, with signs or words for the states.
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
	rest := fmt.Sprintf("%d with a warning, %d not checked", count[Warning], count[NotChecked])
	if r.State == Warning {
		return "nothing has failed; " + rest
	}
	return fmt.Sprintf("%d failed, %s", count[Failure], rest)
}
