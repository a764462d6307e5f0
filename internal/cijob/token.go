package cijob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
)

// Token is a CI_JOB_TOKEN. Printing it, in whatever way, shows nothing of it.
type Token struct{ text string }

// NewToken makes a token of its text.
func NewToken(text string) Token { return Token{text} }

// Empty says whether there is no token.
func (t Token) Empty() bool { return t.text == "" }

// Text is the token itself, for the one header or file it belongs in.
func (t Token) Text() string { return t.text }

// Credential is what the token is to an API server, through an agent.
func (t Token) Credential(agentID int64) string { return fmt.Sprintf("ci:%d:%s", agentID, t.text) }

// redacted stands where a token stood.
const redacted = "[token]"

// Redact takes the token out of a text that somebody else wrote.
func (t Token) Redact(text string) string {
	if t.Empty() {
		return text
	}
	return strings.ReplaceAll(text, t.text, redacted)
}

// Format keeps the token out of everything that is printed, whatever the verb.
func (t Token) Format(s fmt.State, _ rune) {
	if t.Empty() {
		fmt.Fprint(s, "no token")
		return
	}
	fmt.Fprint(s, redacted)
}

// Credential is a bearer token as jobgate reads it.
type Credential struct {
	AgentID int64
	Expires time.Time // of a JWT that has not expired; zero for any other token
}

// ErrNotForJobgate is returned for a bearer token that is none of jobgate's: it does not begin with "ci:".
var ErrNotForJobgate = errors.New("the token is no CI job's: it does not begin with \"ci:\"")

// ParseCredential reads "ci:<agent id>:<job token>" as jobgate does, short of asking GitLab. The error is
// ErrNotForJobgate, or a *tokenreview.RejectedError with the reason malformed or expired; the agent's id is set where
// the token names one. Neither repeats anything of the token.
func ParseCredential(text string) (Credential, error) {
	agentID, err := parsedAgent(text)
	if err != nil {
		return Credential{}, err
	}
	recorder := &recorder{}
	err = authenticate(recorder, text, tokenreview.Agent{ID: agentID})
	var rejected *tokenreview.RejectedError
	if errors.As(err, &rejected) {
		return Credential{AgentID: agentID}, rejected
	}
	return Credential{AgentID: agentID, Expires: recorder.expires}, nil
}

// parsedAgent finds the agent's id: an authenticator without agents refuses every well-formed token for its agent.
func parsedAgent(text string) (int64, error) {
	err := authenticate(&recorder{}, text)
	var rejected *tokenreview.RejectedError
	switch {
	case !errors.As(err, &rejected):
		return 0, ErrNotForJobgate
	case rejected.Reason != tokenreview.ReasonUnknownAgent:
		return 0, rejected
	}
	return rejected.AgentID, nil
}

// authenticate returns nil for a token that is somebody else's.
func authenticate(jobs tokenreview.Jobs, text string, agents ...tokenreview.Agent) error {
	// A refusal here is this program's to report, and not a log line's.
	ctx := klog.NewContext(context.Background(), logr.Discard())
	_, _, err := tokenreview.New(jobs, tokenreview.Config{Agents: agents}).AuthenticateToken(ctx, text)
	return err
}

// recorder is a GitLab that nobody asks: it notes what would have been looked up.
type recorder struct{ expires time.Time }

var errNotAsked = errors.New("GitLab is not asked")

// Lookup implements tokenreview.Jobs.
func (r *recorder) Lookup(_ context.Context, _ string, expires time.Time) (job.Answer, error) {
	r.expires = expires
	return job.Answer{}, errNotAsked
}
