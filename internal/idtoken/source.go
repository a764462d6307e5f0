// Package idtoken verifies GitLab's CI ID tokens, and implements job's source for them.
//
// A token is judged in this order:
//
//  1. Ours reads issuer and audience without verifying them: any other token belongs to another authenticator.
//  2. The form: size, canonical base64url, no claim twice.
//  3. The signature: RS256, by a key of the instance's key set, which is fetched rarely (keys.go).
//  4. The claims: issuer, exactly one audience, time, and what every identity is made of (claims.go).
//  5. With an access token: GitLab says that the job runs (liveness), and which groups its project is in.
//
// It knows JWTs, GitLab's claims and its key set. It must not know Kubernetes, nor which jobs the cluster admits. It fails
// closed on every doubt about a token; while GitLab is away, the last good keys and groups serve.
package idtoken

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/internal/job"
)

const (
	// maxToken bounds a token, in bytes. With 200 groups_direct one has 12 KB.
	maxToken = 16 << 10
	// maxPeek bounds what is decoded of a token to tell that it is ours and too long. A longer one is not looked at.
	maxPeek = 64 << 10
)

// API is what GitLab is asked. *gitlab.Client implements it.
type API interface {
	job.StatusSource
	// Keys returns the instance's key set (RFC 7517), of bounded size.
	Keys(ctx context.Context) ([]byte, error)
	// Groups returns the ids of the groups that a project is in, nearest first. An *job.UnlearnableError is definite.
	Groups(ctx context.Context, projectID int64, lane job.Lane) ([]int64, error)
}

// Config says which tokens are ours, and what is asked of their jobs.
type Config struct {
	// URL is GitLab's base URL, for the pages of jobs.
	URL      string
	Issuer   string
	Audience string // empty: no token is ours
	// RequireLiveness asks GitLab whether a job runs. Without it a token is good until it expires.
	RequireLiveness bool
}

// Source identifies jobs by ID tokens. It is safe for concurrent use.
type Source struct {
	current  atomic.Pointer[current]
	keys     *keySet
	groups   *groupCache
	lifetime context.Context
	end      context.CancelFunc
	running  sync.WaitGroup
}

var _ job.Source = (*Source)(nil)

type current struct {
	Config
	api API
}

// New returns a source and registers its metrics, unless the registerer is nil. It asks nothing yet.
func New(c Config, api API, r prometheus.Registerer) *Source {
	s := &Source{}
	s.lifetime, s.end = context.WithCancel(context.Background())
	s.keys, s.groups = newKeySet(s, r), newGroupCache(s, r)
	s.Configure(c, api)
	return s
}

// Configure replaces the configuration and the API. Keys and groups that are known stay.
func (s *Source) Configure(c Config, api API) { s.current.Store(&current{Config: c, api: api}) }

// Run ends what goes on in the background when the context ends, and waits for it.
func (s *Source) Run(ctx context.Context) {
	<-ctx.Done()
	s.end()
	s.running.Wait()
}

// background runs a task for as long as the source lives. Its panic ends the task alone.
func (s *Source) background(task func(context.Context)) {
	s.running.Go(func() {
		defer func() { _ = recover() }()
		ctx, cancel := context.WithTimeout(s.lifetime, backgroundTimeout)
		defer cancel()
		task(ctx)
	})
}

// backgroundTimeout bounds one refresh that no request waits for.
const backgroundTimeout = 30 * time.Second

// Ours says whether a token claims to be GitLab's for this cluster, and when it claims to end. Nothing is verified yet.
func (s *Source) Ours(token string) (expires time.Time, ours bool) {
	c := s.current.Load()
	if c.Audience == "" || len(token) > maxPeek {
		return time.Time{}, false
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, found := strings.Cut(rest, ".")
	if !found {
		return time.Time{}, false
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "="))
	if err != nil || isDeep(text) {
		return time.Time{}, false
	}
	var claims struct {
		Issuer   string         `json:"iss"`
		Audience any            `json:"aud"`
		Expires  jsontext.Value `json:"exp"`
	}
	// What else is wrong with a token of ours is found when it is verified.
	if err := json.Unmarshal(text, &claims, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return time.Time{}, false
	}
	if claims.Issuer != c.Issuer || !names(claims.Audience, c.Audience) {
		return time.Time{}, false
	}
	if seconds, err := strconv.ParseInt(string(claims.Expires), 10, 64); err == nil {
		expires = time.Unix(seconds, 0).Add(leeway)
	}
	return expires, true
}

// maxDepth bounds how deep claims nest; GitLab's have three levels. Decoders call themselves for each level, and a token of
// thousands takes some MiB of stack.
const maxDepth = 32

// isDeep says whether JSON nests deeper than maxDepth.
func isDeep(text []byte) bool {
	if bytes.Count(text, []byte("[")) <= maxDepth/2 && bytes.Count(text, []byte("{")) <= maxDepth/2 {
		return false // most tokens
	}
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case inString:
		case c == '[', c == '{':
			if depth++; depth > maxDepth {
				return true
			}
		case c == ']', c == '}':
			depth--
		}
	}
	return false
}

// names says whether an audience, in either of its forms, contains the one wanted.
func names(audience any, want string) bool {
	list, isList := audience.([]any)
	if !isList {
		return audience == want
	}
	return slices.Contains(list, any(want))
}

// Identify implements job.Source. With before, the token has been verified: only its key, the job's liveness and its
// groups are looked at again.
func (s *Source) Identify(ctx context.Context, token string, before *job.Job, lane job.Lane) (*job.Job, error) {
	c := s.current.Load()
	var j job.Job
	if before != nil {
		if err := s.keys.check(before.KeyID); err != nil {
			return nil, err
		}
		j = *before
	} else {
		verified, err := s.verify(ctx, c, token)
		if err != nil {
			return nil, err
		}
		j = *verified
	}
	if c.RequireLiveness {
		if err := alive(ctx, c.api, &j, lane); err != nil {
			return nil, err
		}
	}
	var err error
	if j.Groups, err = s.groups.of(ctx, c.api, j.ProjectID, lane); err != nil {
		return nil, fmt.Errorf("learn the groups of project %d: %w", j.ProjectID, err)
	}
	return &j, nil
}

func alive(ctx context.Context, api API, j *job.Job, lane job.Lane) error {
	status, err := api.Status(ctx, j.ProjectID, j.ID, lane)
	if err != nil {
		return fmt.Errorf("ask whether job %d runs: %w", j.ID, err)
	}
	if status != job.StatusRunning {
		return &job.RejectedError{Rejection: job.NotRunning}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &job.RejectedError{Rejection: job.Invalid, Message: fmt.Sprintf(format, args...)}
}
