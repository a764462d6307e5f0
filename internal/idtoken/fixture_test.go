package idtoken_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
)

const issuer = "https://gitlab.example.com"

// scripted is a GitLab whose answers the test writes, for what concerns time. It counts the questions.
type scripted struct {
	mu       sync.Mutex
	delay    time.Duration // of every answer
	keys     []byte
	keysErr  error
	groups   []int64
	groupErr error
	asked    struct{ keys, groups int }
}

func (s *scripted) CanAsk() bool { return true }

func (s *scripted) Status(context.Context, int64, int64, job.Lane) (string, error) {
	return job.StatusRunning, nil
}

func (s *scripted) Keys(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	s.asked.keys++
	s.mu.Unlock()
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys, s.keysErr
}

func (s *scripted) Groups(ctx context.Context, _ int64, _ job.Lane) ([]int64, error) {
	s.mu.Lock()
	s.asked.groups++
	s.mu.Unlock()
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups, s.groupErr
}

func (s *scripted) wait(ctx context.Context) error {
	select {
	case <-time.After(s.delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// set changes the answers.
func (s *scripted) set(change func(*scripted)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *scripted) wantKeyFetches(t *testing.T, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.keys != want {
		t.Errorf("GitLab was asked for its keys %d times, want %d", s.asked.keys, want)
	}
}

func (s *scripted) wantGroupQuestions(t *testing.T, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.groups != want {
		t.Errorf("GitLab was asked for groups %d times, want %d", s.asked.groups, want)
	}
}

// signer is a key of GitLab's.
type signer struct {
	id  string
	key *rsa.PrivateKey
}

// signers are made once, since making them takes long.
var signers = sync.OnceValue(func() []signer {
	made := make([]signer, 0, 2)
	for _, id := range []string{"first", "second"} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		made = append(made, signer{id, key})
	}
	return made
})

// keySet is the set that has these keys.
func keySet(keys ...signer) []byte {
	encode := base64.RawURLEncoding.EncodeToString
	list := []map[string]string{}
	for _, k := range keys {
		list = append(list, map[string]string{
			"kty": "RSA", "kid": k.id, "use": "sig", "alg": "RS256",
			"n": encode(k.key.N.Bytes()), "e": encode(big.NewInt(int64(k.key.E)).Bytes()),
		})
	}
	text, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		panic(err)
	}
	return text
}

// token is an ID token that the key signed now, with some claims changed. It ends in a week, longer than any test goes.
func (k signer) token(t testing.TB, changes map[string]any) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": issuer, "aud": audience, "iat": time.Now().Unix(), "exp": time.Now().Add(7 * 24 * time.Hour).Unix(),
		"job_id": "1001", "pipeline_id": "501", "job_project_id": "150", "project_id": "150", "user_id": "9", "user_login": "jdoe", "jti": "a-1",
		"ref": "main", "ref_type": "branch", "ref_protected": "true", "pipeline_source": "push",
	}
	maps.Copy(claims, changes)
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = k.id
	signed, err := token.SignedString(k.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// newScripted is a source in front of a scripted GitLab, inside a bubble of testing/synctest.
func newScripted(t *testing.T, api *scripted, r prometheus.Registerer) *idtoken.Source {
	t.Helper()
	s := idtoken.New(idtoken.Config{URL: issuer, Issuer: issuer, Audience: audience}, api, r)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return s
}

func login(t *testing.T, s *idtoken.Source, token string) *job.Job {
	t.Helper()
	j, err := s.Identify(t.Context(), token, nil, job.Logins)
	if err != nil {
		t.Fatal(err)
	}
	return j
}
