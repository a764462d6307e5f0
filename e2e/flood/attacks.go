package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const (
	// maxAttacking bounds the attacker's requests that wait.
	maxAttacking = 6000
	// attackers bounds what an attacker does at once who goes as fast as jobgate answers.
	attackers = 64

	unknownPerSecond = 2000
	forgedPerSecond  = 2000
	hangingPerSecond = 20
	sharedPerSecond  = 500
	largePerSecond   = 100
	largeToken       = 1 << 20

	manyMalformed = 1_000_000
	manyUnknown   = 200_000
)

// attack is one attacker.
type attack struct {
	name, what string
	// lookups says how many questions to GitLab a second it would cause, had the lane no bound; 0 for none.
	lookups float64
	// counted says that it ends by itself, after what it has counted and not after a time.
	counted bool
	// run attacks until the context ends, and returns what it did.
	run func(context.Context, *installation) string
}

func attacks() []attack {
	return []attack{
		{name: "none", what: "no attacker: what the honest load alone looks like", run: rest},
		{name: "unknown-tokens", what: "2,000 unknown job tokens a second", lookups: unknownPerSecond, run: unknownTokens},
		{name: "hanging-lookups", what: "20 new job tokens a second whose lookups GitLab never answers", run: hangingLookups},
		{name: "many-agents", what: "500 unknown job tokens a second, each for three agents", lookups: sharedPerSecond, run: manyAgents},
		{name: "forged-id-tokens", what: "2,000 forged ID tokens a second", run: forgedIDTokens},
		{name: "malformed-tokens", what: "2,000 malformed tokens a second", run: malformedTokens},
		{name: "large-tokens", what: "100 tokens of 1 MiB a second", run: largeTokens},
		{name: "huge-projects", what: "100 jobs of 5 projects with 3,000 environments each, matched by a wildcard", run: hugeProjectJobs},
		{name: "idle-connections", what: "2,000 connections that do nothing, with a client certificate", run: idleConnections},
		{name: "slow-requests", what: "500 bodies and 500 headers that arrive a byte a second", run: slowRequests},
		{name: "rapid-reset", what: "10,000 streams a second that are reset as soon as they are opened (CVE-2023-44487)", run: rapidReset},
		{
			name: "many-tokens", what: "1,000,000 malformed and 200,000 unknown tokens, as fast as jobgate answers",
			lookups: unknownPerSecond, counted: true, run: manyTokens,
		},
	}
}

func attackNames() []string {
	var names []string
	for _, a := range attacks() {
		names = append(names, a.name)
	}
	return names
}

func findAttack(name string) (attack, error) {
	all := attacks()
	if i := slices.IndexFunc(all, func(a attack) bool { return a.name == name }); i >= 0 {
		return all[i], nil
	}
	return attack{}, fmt.Errorf("there is no attack %q; there are %s", name, strings.Join(attackNames(), ", "))
}

func rest(ctx context.Context, _ *installation) string {
	<-ctx.Done()
	return "nothing"
}

// randomToken has the form of a job token.
func randomToken() string { return "glcbt-64_" + rand.Text()[:20] }

func (in *installation) try(ctx context.Context, agent int64, token string) {
	_, _ = in.api.login(ctx, fmt.Sprintf("ci:%d:%s", agent, token)) // what the attacker gets is not measured
}

func unknownTokens(ctx context.Context, in *installation) string {
	n := paced(ctx, unknownPerSecond*in.scale, maxAttacking, func(int) { in.try(ctx, agents()[0], randomToken()) })
	return fmt.Sprintf("%d unknown tokens", n)
}

func hangingLookups(ctx context.Context, in *installation) string {
	n := paced(ctx, hangingPerSecond*in.scale, maxAttacking, func(int) { in.try(ctx, agents()[0], hanging+rand.Text()[:13]) })
	return fmt.Sprintf("%d hanging lookups", n)
}

func manyAgents(ctx context.Context, in *installation) string {
	n := paced(ctx, sharedPerSecond*in.scale, maxAttacking/len(agents()), func(int) {
		token := randomToken()
		var all sync.WaitGroup
		for _, agent := range agents() {
			all.Go(func() { in.try(ctx, agent, token) })
		}
		all.Wait()
	})
	return fmt.Sprintf("%d tokens, each for %d agents", n, len(agents()))
}

// malformed are tokens that jobgate refuses without a question to GitLab, each another text.
func malformed(i int) string {
	forms := []string{"ci:x%d", "ci:4:%d blank", "ci:04:%d", "ci:99:glcbt-64_%d", "ci::%d", "ci:-4:%d", "ci:another-cluster:%d"}
	return fmt.Sprintf(forms[i%len(forms)], i)
}

func malformedTokens(ctx context.Context, in *installation) string {
	n := paced(ctx, unknownPerSecond*in.scale, maxAttacking, func(i int) { _, _ = in.api.login(ctx, malformed(i)) })
	return fmt.Sprintf("%d malformed tokens", n)
}

func largeTokens(ctx context.Context, in *installation) string {
	text := strings.Repeat("x", largeToken)
	forms := []string{"ci:4:" + text, text, "ci:" + text}
	n := paced(ctx, largePerSecond*in.scale, attackers, func(i int) { _, _ = in.api.login(ctx, forms[i%len(forms)]) })
	return fmt.Sprintf("%d tokens of 1 MiB", n)
}

// hugeProjectJobs logs each job in and lets it work, so that its name is asked for again with each refresh until known.
func hugeProjectJobs(ctx context.Context, in *installation) string {
	w := in.gitlab.Instance()
	var jobs sync.WaitGroup
	var settled, denied atomic.Int64
	for i := range hugeProjects * hugeJobs {
		jobs.Go(func() {
			token := credential(&w, int64(firstHuge+i), agents()[0])
			var u *authenticationv1.UserInfo
			for ctx.Err() == nil {
				if identity, err := in.api.login(ctx, token); err == nil {
					u = identity
				}
				if u != nil {
					if in.api.authorize(ctx, u) == nil {
						settled.Add(1)
						break
					}
					denied.Add(1)
				}
				pause(ctx, time.Second)
			}
		})
	}
	jobs.Wait()
	<-ctx.Done()
	return fmt.Sprintf("%d of %d jobs were let in, after %d requests denied; %d pages of environments",
		settled.Load(), hugeProjects*hugeJobs, denied.Load(), in.gitlab.Calls(gitlabtest.Environments))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// manyTokens sends the malformed ones as fast as they are answered, and unknown ones at their rate.
func manyTokens(ctx context.Context, in *installation) string {
	var next atomic.Int64
	var workers sync.WaitGroup
	total := int64(manyMalformed * in.scale)
	for range attackers {
		workers.Go(func() {
			for i := next.Add(1); i <= total && ctx.Err() == nil; i = next.Add(1) {
				_, _ = in.api.login(ctx, malformed(int(i)))
			}
		})
	}
	workers.Wait()
	unknown := pacedUpTo(ctx, int(manyUnknown*in.scale), unknownPerSecond, maxAttacking, func(int) {
		in.try(ctx, agents()[0], randomToken())
	})
	return fmt.Sprintf("%d malformed and %d unknown tokens", min(total, next.Load()), unknown)
}
