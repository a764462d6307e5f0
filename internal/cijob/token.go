package cijob

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jobgate/jobgate/internal/credential"
)

// Token is a CI_JOB_TOKEN or an ID token. However it is printed, no part of it shows.
type Token struct{ text string }

// NewToken makes a token of its text.
func NewToken(text string) Token { return Token{text} }

// Empty says whether there is no token.
func (t Token) Empty() bool { return t.text == "" }

// Text is the token itself, for a header or a file.
func (t Token) Text() string { return t.text }

// ForAgent is what a job token presents to an API server through an agent.
func (t Token) ForAgent(id int64) string { return credential.ForAgent(id, t.text) }

// ErrExpired is returned for a JWT that has expired.
var ErrExpired = errors.New("the token has expired: the job is over, or this machine's clock is wrong; run the job again")

// Check reads the token as jobgate does before it asks GitLab, and returns when a JWT expires; the zero time for any other
// token. The error wraps credential.ErrMalformed or is ErrExpired, and repeats no part of the token.
func (t Token) Check(now time.Time) (expires time.Time, err error) {
	// The id of any agent will do: the grammar of the token is the same.
	c, err := credential.Parse(t.ForAgent(1))
	if err != nil {
		return time.Time{}, err
	}
	if !c.Expires.IsZero() && !now.Before(c.Expires) {
		return c.Expires, ErrExpired
	}
	return c.Expires, nil
}

// redacted is shown in place of a token.
const redacted = "[token]"

// Redact replaces the token in a text that comes from elsewhere.
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
