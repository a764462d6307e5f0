package idtoken

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"github.com/jobgate/jobgate/internal/job"
)

// leeway is how far the clocks of GitLab and this machine may be apart.
const leeway = 30 * time.Second

// verify takes a token that is Ours, and returns its job. The error is a *job.RejectedError, or says why the key could not
// be had; it repeats nothing of the token.
func (s *Source) verify(ctx context.Context, c *current, token string) (*job.Job, error) {
	if len(token) > maxToken {
		return nil, tooLong()
	}
	header, payload, err := split(token)
	if err != nil {
		return nil, err
	}
	var h struct {
		KeyID string `json:"kid"`
	}
	var claims claims
	// This decoder refuses a name that is there twice, of which two readers could take different values.
	if json.Unmarshal(header, &h) != nil || json.Unmarshal(payload, &claims) != nil {
		return nil, badForm()
	}
	if h.KeyID == "" {
		return nil, invalid("it does not name its key (kid)")
	}
	var keyErr error
	_, err = c.parser().ParseWithClaims(token, jwt.MapClaims{}, func(t *jwt.Token) (any, error) {
		key, err := s.keys.get(ctx, h.KeyID)
		keyErr = err
		return key, err
	})
	switch {
	case keyErr != nil:
		return nil, keyErr
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, &job.RejectedError{Rejection: job.Expired}
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return nil, invalid("it is not valid yet; compare the clocks of GitLab and of this control plane")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return nil, invalid("its signature is not GitLab's (RS256)")
	case err != nil:
		return nil, invalid("its issuer, audience or end is missing or wrong")
	}
	j, err := claims.job(c.URL)
	if err != nil {
		return nil, err
	}
	if j.TokenID == "" { // the extras tell an ID token's job by it, and an ID token ends in another way than a job token
		return nil, invalid("it has no jti")
	}
	j.KeyID = h.KeyID
	return j, nil
}

// Describe returns the job that claims describe, for explanations: nothing is verified, neither a signature nor the time,
// and GitLab is not asked. The error is a *job.RejectedError.
func (s *Source) Describe(payload []byte) (*job.Job, error) {
	var claims claims
	if json.Unmarshal(payload, &claims) != nil {
		return nil, badForm()
	}
	c := s.current.Load()
	if claims.Issuer != c.Issuer || !slices.Equal(claims.Audience, audience{c.Audience}) {
		return nil, invalid("its iss must be %q, and its aud %q alone", c.Issuer, c.Audience)
	}
	j, err := claims.job(c.URL)
	if err != nil {
		return nil, err
	}
	j.Groups.Why = "an ID token's claims do not have them"
	return j, nil
}

func badForm() error {
	return invalid("its header or claims are not of the form that GitLab writes: an id that is no string, or a claim twice")
}

func (c *current) parser() *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithIssuer(c.Issuer),
		jwt.WithAudience(c.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(),
	)
}

// split decodes header and claims. Each part must be canonical base64url (RFC 7515, section 2), so that one token has one
// spelling; Go's decoder passes over line breaks.
func split(token string) (header, payload []byte, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || strings.ContainsAny(token, "\r\n") {
		return nil, nil, invalid("it is not of three parts")
	}
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil || part == "" {
			return nil, nil, invalid("a part of it is not canonical base64url")
		}
	}
	header, _ = base64.RawURLEncoding.DecodeString(parts[0])
	payload, _ = base64.RawURLEncoding.DecodeString(parts[1])
	return header, payload, nil
}
