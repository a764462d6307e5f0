package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// signatureBytes are those of RS256 with a key of 2048 bits.
const signatureBytes = 256

// forger makes texts that have the form of ID tokens for this cluster, each another one, and none that GitLab has signed.
type forger struct {
	headers   []string // encoded
	claims    string
	signature string // of a genuine token, encoded
}

func newForger(g *gitlabtest.Server) (*forger, error) {
	genuine, err := g.IDToken(firstRunning, audience)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(genuine, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("read the claims of an ID token: %w", err)
	}
	f := &forger{headers: []string{parts[0]}, claims: string(claims), signature: parts[2]}
	for _, header := range []map[string]string{
		{"alg": "none", "typ": "JWT"}, {"alg": "HS256", "typ": "JWT"}, {"alg": "RS256", "typ": "JWT"},
	} {
		text, err := json.Marshal(header)
		if err != nil {
			return nil, fmt.Errorf("encode the header of an ID token: %w", err)
		}
		f.headers = append(f.headers, base64.RawURLEncoding.EncodeToString(text))
	}
	return f, nil
}

// token has in turn a genuine key's id and a signature of that length, a key id that GitLab does not have, a genuine
// signature of other claims, or a header that jobgate does not take.
func (f *forger) token(i int) string {
	encode := base64.RawURLEncoding.EncodeToString
	random := make([]byte, signatureBytes)
	_, _ = rand.Read(random) // it never fails (crypto/rand)
	header, signature := f.headers[0], encode(random)
	switch i % 4 {
	case 1:
		header = encode(fmt.Appendf(nil, `{"alg":"RS256","kid":%q,"typ":"JWT"}`, rand.Text()))
	case 2:
		signature = f.signature
	case 3:
		header = f.headers[1+i/4%(len(f.headers)-1)]
	}
	changed := strings.Replace(f.claims, `"jti":"`, `"jti":"`+rand.Text()[:8], 1)
	return header + "." + encode([]byte(changed)) + "." + signature
}

func forgedIDTokens(ctx context.Context, in *installation) string {
	f, err := newForger(in.gitlab)
	if err != nil {
		return err.Error()
	}
	n := paced(ctx, forgedPerSecond*in.scale, maxAttacking, func(i int) { _, _ = in.api.login(ctx, f.token(i)) })
	return fmt.Sprintf("%d forged ID tokens", n)
}
