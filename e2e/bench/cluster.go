package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

// levels are how hard the API server is asked. Where each request is for another object, the API server asks jobgate about
// each; the same request is remembered for a second.
var levels = []level{{InFlight: 1}, {InFlight: 16}, {InFlight: 64}, {InFlight: 16, Distinct: true}}

type level struct {
	InFlight int  `json:"inFlight"`
	Distinct bool `json:"eachForAnotherObject,omitempty"`
}

func (l level) String() string {
	if l.Distinct {
		return fmt.Sprintf("%d in flight, each another", l.InFlight)
	}
	return fmt.Sprintf("%d in flight", l.InFlight)
}

// access lets both users do the same, by RBAC.
const access = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: bench, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gitlab:ci_job"}
- {kind: ServiceAccount, name: bench, namespace: default}
`

// comparison is what a CI job and a ServiceAccount get out of an API server.
type comparison struct {
	Level          level   `json:"level"`
	Job            load    `json:"job"`
	ServiceAccount load    `json:"serviceAccount"`
	Ratio          float64 `json:"ratio"` // of requests per second: the median of the rounds
}

// measureCluster starts an installation for as long as it measures.
func (r *report) measureCluster(ctx context.Context, set binaries.Set, o options) (err error) {
	site, err := sandbox.Start(ctx, sandbox.Options{
		Binaries: set, Instance: gitlabtest.Example(),
		Configure: func(c *config.Configuration) { c.Agents = []config.Agent{{ID: gitlabtest.ExampleAgent}} },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	processes := map[string]int{"jobgate": site.Jobgate.PID(), "kube-apiserver": site.API.PID(), "etcd": site.Plane.EtcdPID()}
	if r.MemoryAtRest, err = residentBytes(processes["jobgate"]); err != nil {
		return err
	}
	job, account, err := users(ctx, site)
	if err != nil {
		return err
	}
	defer job.close()
	defer account.close()
	for _, u := range []*user{job, account} {
		if err := u.awaitAccess(ctx); err != nil {
			return err
		}
	}
	for _, at := range levels {
		c, err := compare(ctx, job, account, at, processes, o)
		if err != nil {
			return err
		}
		r.Cluster = append(r.Cluster, c)
	}
	return r.measureWatches(ctx, site, job, account)
}

// compare measures both users in turn. Each begins as often as the other, give or take one.
func compare(ctx context.Context, job, account *user, at level, processes map[string]int, o options) (comparison, error) {
	var asJob, asAccount []load
	ratios := make([]float64, 0, o.rounds)
	for round := range o.rounds {
		turns := []*user{job, account}
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		var rates [2]float64
		for _, u := range turns {
			l, err := u.load(ctx, at, o.slice, processes)
			if err != nil {
				return comparison{}, err
			}
			if u == job {
				asJob, rates[0] = append(asJob, l), l.PerSecond
			} else {
				asAccount, rates[1] = append(asAccount, l), l.PerSecond
			}
		}
		ratios = append(ratios, rates[0]/rates[1])
	}
	return comparison{Level: at, Job: typical(asJob), ServiceAccount: typical(asAccount), Ratio: median(ratios)}, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// users are the two to compare.
func users(ctx context.Context, site *sandbox.Sandbox) (job, account *user, err error) {
	admin, err := site.Admin()
	if err != nil {
		return nil, nil, err
	}
	if result, err := admin.Apply(ctx, access); err != nil || !result.OK() {
		return nil, nil, errors.Join(err, fmt.Errorf("kubectl apply: %s", result))
	}
	token, err := admin.Run(ctx, "create", "token", "bench", "--namespace=default", "--duration=1h")
	if err != nil || !token.OK() {
		return nil, nil, errors.Join(err, fmt.Errorf("kubectl create token: exit code %d: %s", token.ExitCode, token.Stderr))
	}
	gitlab := site.GitLab.Instance()
	jobToken := fmt.Sprintf("ci:%d:%s", gitlabtest.ExampleAgent, gitlab.Job(gitlabtest.ExampleJob).Token)
	return newUser("CI job", site, jobToken), newUser("ServiceAccount", site, strings.TrimSpace(token.Stdout)), nil
}
