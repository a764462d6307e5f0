package tokenreview

import (
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// prefix marks a credential as a CI job's. It is KAS's own token type, so existing kubeconfigs work unchanged.
	prefix = "ci:"
	// maxJobToken bounds a job token, in bytes. JWT job tokens are below 1 KiB.
	maxJobToken = 4096
	// maxAgentID bounds the text of an agent id: 2^63-1 has 19 digits.
	maxAgentID = 19
)

// credential is a parsed "ci:<agent id>:<job token>".
type credential struct {
	agentID  int64
	jobToken string
}

func isCredential(token string) bool { return strings.HasPrefix(token, prefix) }

// parse reads a token that isCredential. It is stricter than KAS, which takes negative, zero and padded ids and any
// bytes for the job token, and repeats a malformed id, possibly a secret in the wrong place, to the log. The error is a
// *RejectedError and repeats nothing of the token.
func parse(token string) (credential, error) {
	id, jobToken, found := strings.Cut(token[len(prefix):], ":")
	if !found {
		return credential{}, malformed("the agent id or the job token is missing")
	}
	agentID, ok := parseAgentID(id)
	if !ok {
		return credential{}, malformed("the agent id is not a plain decimal number greater than 0")
	}
	switch {
	case jobToken == "":
		return credential{}, malformed("the job token is empty; is $CI_JOB_TOKEN set?")
	case len(jobToken) > maxJobToken:
		return credential{}, malformed("the job token is longer than any that GitLab issues")
	case !isTokenText(jobToken):
		return credential{}, malformed("the job token has characters that no GitLab token has")
	}
	return credential{agentID: agentID, jobToken: jobToken}, nil
}

func malformed(what string) error {
	return reject(ReasonMalformed, 0, nil, "the token is not of the form ci:<agent id>:<CI_JOB_TOKEN>: %s", what)
}

// parseAgentID takes canonical decimals only, so that one agent has one spelling everywhere.
func parseAgentID(text string) (int64, bool) {
	if text == "" || len(text) > maxAgentID || text[0] < '1' || text[0] > '9' {
		return 0, false
	}
	id, err := strconv.ParseUint(text, 10, 63)
	return int64(id), err == nil
}

// isTokenText accepts the characters of a bearer token (RFC 6750, section 2.1: b64token). What else there might be,
// line breaks above all, must not reach a header.
func isTokenText(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("._~+/=-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// expiry returns when a JWT job token ends by its own word; zero for any other token. GitLab signs these with a key
// that it does not publish (ci_job_token_signing_key), so nothing else in there may be believed; a forged expiry can
// only shorten what the forger gets.
func expiry(jobToken string) time.Time {
	if strings.Count(jobToken, ".") < 2 {
		return time.Time{}
	}
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(withoutMarker(jobToken), claims); err != nil {
		return time.Time{}
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return time.Time{}
	}
	return expires.Time
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
