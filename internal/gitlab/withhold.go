package gitlab

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

// Someone between jobgate and GitLab may repeat the token in an answer: in a debugging page, a header, a field. Then the
// answer is useless, and nothing of it may reach an error or a log. This file alone sees to it.

// telling is how many bytes of a secret, in a row and in any case, give it away in a text: texts are cut and lower-cased
// before they are shown. A secret that is shorter is no token of GitLab's, which have 20 characters and more, and may
// stand in an answer by chance.
const telling = 12

var errWithheld = errors.New("the answer repeats the token, so its text is withheld")

// repeats says whether the text gives away the secret or a part of it.
func repeats(text, secret string) bool {
	text, secret = strings.ToLower(text), strings.ToLower(secret)
	if secret == "" {
		return false
	}
	if len(secret) <= telling {
		return strings.Contains(text, secret)
	}
	for i := 0; i+telling <= len(text); i++ {
		if strings.Contains(secret, text[i:i+telling]) {
			return true
		}
	}
	return false
}

// withhold returns the error without its text where that gives away the secret. What the error decides stays the same.
func withhold(err error, secret string) error {
	if err == nil || !repeats(err.Error(), secret) {
		return err
	}
	var (
		refused   *RefusedError
		answer    *answerError
		transport *transportError
	)
	switch {
	case errors.As(err, &refused):
		return &RefusedError{Status: refused.Status, Endpoint: refused.Endpoint}
	case errors.As(err, &answer):
		return &answerError{status: answer.status, cause: errWithheld, retryAfter: answer.retryAfter}
	case errors.As(err, &transport):
		return &transportError{err: errWithheld, timedOut: transport.timedOut}
	default:
		return errWithheld
	}
}

// shown is what may be shown of a text: its beginning, or nothing where it gives away the secret anywhere.
func shown(text, secret string, limit int) string {
	if repeats(text, secret) {
		return ""
	}
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.ToValidUTF8(text, "?")
}

// secretReader notes whether the secret passes by, unless it is shorter than any token.
type secretReader struct {
	r      io.Reader
	secret []byte
	tail   []byte // of what was read before, one byte shorter than the secret
	found  bool
}

func (s *secretReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n == 0 || len(s.secret) < telling || s.found {
		return n, err
	}
	keep := len(s.secret) - 1
	seam := append(s.tail, p[:min(n, keep)]...) //nolint:gocritic // it is read before tail is written, and append copies what overlaps
	s.found = bytes.Contains(seam, s.secret) || bytes.Contains(p[:n], s.secret)
	if n >= keep {
		s.tail = append(s.tail[:0], p[n-keep:n]...)
	} else {
		s.tail = append(s.tail[:0], seam[max(0, len(seam)-keep):]...)
	}
	return n, err
}
