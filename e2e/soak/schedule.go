package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"
)

const (
	// quiet is between two disturbances. An instance that has just started knows no job, so that GitLab's next failure would log
	// out who has to log in again (docs/operations.md): in this time every running job has.
	quiet = 21 * time.Second
	// faultLength is less than cache.staleFor.
	faultLength = 15 * time.Second
	// rotationLength is twice an overlap of an API server's ReloadInterval and a minute, and what jobgate needs itself.
	rotationOverlap = 6 * time.Minute
	rotationLength  = 15 * time.Minute
)

// schedule disturbs the installation, one thing after the other.
type schedule struct {
	in     *installation
	ledger *ledger
	chance *rand.Rand
	turn   int // of the instance to restart next
	edits  int
}

func newSchedule(seed uint64, in *installation, l *ledger) *schedule {
	return &schedule{in: in, ledger: l, chance: rand.New(rand.NewPCG(seed, 1<<32))}
}

// run takes every disturbance once in each round, in an order that depends on the seed.
func (s *schedule) run(ctx context.Context, length time.Duration) error {
	pause(ctx, quiet)
	if err := s.renew(length); err != nil {
		return err
	}
	all := []func(context.Context) error{
		s.gitLabFault("GitLab's proxy answers 502", gitlabtest.BadGateway()),
		s.gitLabFault("GitLab answers 429", gitlabtest.RateLimited(3*time.Second)),
		s.gitLabFault("GitLab hangs", gitlabtest.Fault{Endpoint: gitlabtest.AnyEndpoint, Hang: true}),
		s.gitLabFault("GitLab resets connections", gitlabtest.Fault{Endpoint: gitlabtest.AnyEndpoint, Reset: true}),
		s.gitLabFault("GitLab answers 500 with JSON", gitlabtest.Fault{
			Endpoint: gitlabtest.AnyEndpoint, Status: http.StatusInternalServerError,
			ContentType: "application/json", Body: `{"message":"500 Internal Server Error"}`,
		}),
		s.restart, s.kill, s.reconfigure,
	}
	var round []int
	for pause(ctx, quiet); ctx.Err() == nil; pause(ctx, quiet) {
		if len(round) == 0 {
			round = s.chance.Perm(len(all))
		}
		if err := all[round[0]](ctx); err != nil {
			return err
		}
		round = round[1:]
	}
	return nil
}

func (s *schedule) gitLabFault(name string, fault gitlabtest.Fault) func(context.Context) error {
	return func(ctx context.Context) error {
		s.ledger.say("%s for %s", name, faultLength)
		end := s.ledger.declare(gitlabAway)
		s.in.disturb(fault)
		pause(ctx, faultLength)
		s.in.heal()
		end(afterGitLab)
		return nil
	}
}

func (s *schedule) restart(ctx context.Context) error {
	s.turn++
	s.ledger.say("instance %d restarts", s.turn%2+1)
	return s.in.instances[s.turn%2].Restart(context.WithoutCancel(ctx), nil)
}

func (s *schedule) kill(ctx context.Context) error {
	s.turn++
	s.ledger.say("instance %d is killed, and starts", s.turn%2+1)
	end := s.ledger.declare(killed)
	defer end(afterKill)
	s.in.instances[s.turn%2].Kill()
	return s.in.instances[s.turn%2].Start(context.WithoutCancel(ctx))
}

// reconfigure changes what no job of this run notices.
func (s *schedule) reconfigure(ctx context.Context) error {
	s.edits++
	s.ledger.say("the configuration changes")
	return s.in.instances[0].Reconfigure(context.WithoutCancel(ctx), func(c *config.Configuration) {
		c.Restrictions = []policy.Restriction{{
			Name: fmt.Sprintf("change-%d", s.edits), Namespaces: []string{"prod"}, Require: policy.Requirements{ProtectedRef: true},
		}}
	})
}

// renew replaces the certificates, and in a long run the CA as well.
func (s *schedule) renew(length time.Duration) error {
	s.ledger.say("the certificates are renewed")
	s.ledger.declare(renewed)(afterRenewal)
	if _, err := s.in.pki.Renew(true); err != nil {
		return fmt.Errorf("renew the certificates: %w", err)
	}
	if length < rotationLength {
		s.ledger.say("the CA is not rotated: that takes a run of %s", rotationLength)
		return nil
	}
	s.ledger.say("a rotation of the CA begins; each overlap is %s", rotationOverlap)
	overlap := rotationOverlap
	s.ledger.declare(renewed)(2*rotationOverlap + afterRenewal)
	if _, err := s.in.pki.RotateCA(&overlap); err != nil {
		return fmt.Errorf("rotate the CA: %w", err)
	}
	return nil
}
