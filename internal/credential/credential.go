// Package credential knows what a job's credential looks like: "ci:<agent id>:<CI_JOB_TOKEN>", or the cluster's name in
// the place of the agent's id. It must not know what a credential admits to, and it asks no one.
package credential

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/jobgate/jobgate/internal/job"
)

const (
	// prefix marks a credential as a CI job's. It is KAS's own token type, so existing kubeconfigs work unchanged.
	prefix = "ci:"
	// MaxToken bounds a job token, in bytes. GitLab's JWT job tokens are below 1 KiB today.
	MaxToken = 16 << 10
)

// ErrMalformed is in the chain of every error that Parse returns.
var ErrMalformed = errors.New("the token is not of the form ci:<agent id>:<CI_JOB_TOKEN> or ci:<cluster name>:<CI_JOB_TOKEN>")

// Credential is a parsed credential. Either AgentID or Cluster is set.
type Credential struct {
	AgentID int64
	Cluster string
	// JobToken is the CI_JOB_TOKEN.
	JobToken string
	// Expires is when a JWT job token says that it ends; zero for any other token.
	Expires time.Time
}

// Is says whether the token is meant for jobgate: every other token belongs to another authenticator.
func Is(token string) bool { return strings.HasPrefix(token, prefix) }

// IsClusterName says whether a cluster may have this name: a DNS label (RFC 1123) that starts with a letter, so that no
// name is an agent's id.
func IsClusterName(name string) bool {
	return name != "" && name[0] >= 'a' && name[0] <= 'z' && len(validation.IsDNS1123Label(name)) == 0
}

// ForAgent is the credential of a job that uses an agent.
func ForAgent(id int64, jobToken string) string { return fmt.Sprintf("%s%d:%s", prefix, id, jobToken) }

// ForCluster is the credential of a job that a grant of the cluster admits.
func ForCluster(name, jobToken string) string { return prefix + name + ":" + jobToken }

// Parse reads a token that Is a credential. It is stricter than KAS, which takes negative, zero and padded ids and any
// bytes for the job token, and repeats a malformed id, possibly a secret in the wrong place, to the log. The error wraps
// ErrMalformed and repeats nothing of the token.
func Parse(token string) (Credential, error) {
	rest, ok := strings.CutPrefix(token, prefix)
	whom, jobToken, found := strings.Cut(rest, ":")
	if !ok || !found {
		return Credential{}, malformed("the agent id or the job token is missing")
	}
	c := Credential{JobToken: jobToken}
	if id, ok := job.ParseID(whom); ok {
		c.AgentID = id
	} else if len(whom) <= validation.DNS1123LabelMaxLength && IsClusterName(whom) {
		c.Cluster = whom
	} else {
		return Credential{}, malformed("what follows ci: is neither an agent id (a plain decimal number greater than 0) nor the " +
			"name of a cluster (lower-case letters, digits and dashes, starting with a letter)")
	}
	switch {
	case jobToken == "":
		return Credential{}, malformed("the job token is empty; is $CI_JOB_TOKEN set?")
	case c.Cluster != "" && isID(jobToken):
		// What stands in the name's place may be the secret, and a cluster's name is repeated.
		return Credential{}, malformed("a number is in the place of the job token; the agent id comes first")
	case len(jobToken) > MaxToken:
		return Credential{}, malformed("the job token is longer than any that GitLab issues")
	case !isTokenText(jobToken):
		return Credential{}, malformed("the job token has characters that no GitLab token has")
	}
	c.Expires = expiry(jobToken)
	return c, nil
}

func isID(text string) bool {
	_, ok := job.ParseID(text)
	return ok
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// isTokenText accepts the characters of a bearer token (RFC 6750, section 2.1: b64token). Anything else, line breaks
// above all, must not reach a header.
func isTokenText(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '~', c == '+', c == '/', c == '=', c == '-':
		default:
			return false
		}
	}
	return true
}

// expiry returns when a JWT job token says that it ends; zero for any other token. GitLab signs these with a key that it
// does not publish (ci_job_token_signing_key), so nothing else in there may be believed. A forged expiry can only shorten
// what the forger gets.
func expiry(jobToken string) time.Time {
	if strings.Count(jobToken, ".") < 2 {
		return time.Time{}
	}
	_, rest, _ := strings.Cut(withoutMarker(jobToken), ".")
	payload, _, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return time.Time{}
	}
	// The one claim is read by itself: every login of a known job comes here.
	var claims struct {
		Expires *float64 `json:"exp"`
	}
	if err := json.Unmarshal(raw, &claims, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil || claims.Expires == nil {
		return time.Time{}
	}
	return time.Unix(int64(*claims.Expires), 0)
}

// withoutMarker strips "glcbt-", or "<instance prefix>-glcbt-", from a job token.
func withoutMarker(jobToken string) string {
	const marker = "glcbt-"
	if rest, ok := strings.CutPrefix(jobToken, marker); ok {
		return rest
	}
	if _, rest, ok := strings.Cut(jobToken, "-"+marker); ok {
		return rest
	}
	return jobToken
}
