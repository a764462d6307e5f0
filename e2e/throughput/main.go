// Command throughput compares how many requests per second one user gets out of a real kube-apiserver as a CI job,
// whose token goes through jobgate, and with a client certificate, which the API server judges by itself. It prints the
// ratio and fails when that is below the goal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

const (
	goal   = 0.95 // of the requests per second with a client certificate
	rounds = 7    // each measures both; the median round counts, so that a busy moment of the machine does not
	length = 2 * time.Second
)

// access lets both users read what is asked for, by RBAC: an administrator's certificate would bypass it.
const access = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: throughput
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: view
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: Group
  name: gitlab:ci_job
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: certificate-user
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "throughput:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	set, err := binaries.Build(ctx, binaries.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	site, err := sandbox.Start(ctx, sandbox.Options{
		Binaries: set, Instance: gitlabtest.Example(),
		Configure: func(c *config.Configuration) { c.Agents = []config.Agent{{ID: gitlabtest.ExampleAgent}} },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	if err := grant(ctx, site); err != nil {
		return err
	}
	job, certificate, err := users(site)
	if err != nil {
		return err
	}
	defer job.close()
	defer certificate.close()
	return compare(ctx, job, certificate)
}

// compare measures both users in turn.
func compare(ctx context.Context, job, certificate *user) error {
	for _, u := range []*user{job, certificate} {
		if err := u.awaitAccess(ctx); err != nil {
			return err
		}
	}
	ratios := make([]float64, 0, rounds)
	for range rounds {
		asJob, err := job.requestsPerSecond(ctx, length)
		if err != nil {
			return err
		}
		asCertificate, err := certificate.requestsPerSecond(ctx, length)
		if err != nil {
			return err
		}
		ratios = append(ratios, asJob/asCertificate)
	}
	slices.Sort(ratios)
	median := ratios[rounds/2]
	fmt.Printf("%-52s %.2f ratio, goal %.2f; from %.2f to %.2f in %d rounds\n",
		"RealAPIServer/CIJobBesideCertificate", median, goal, ratios[0], ratios[rounds-1], rounds)
	if median < goal {
		return fmt.Errorf("the median ratio is %.2f, below the goal of %.2f", median, goal)
	}
	return nil
}

func grant(ctx context.Context, site *sandbox.Sandbox) error {
	admin, err := site.Admin()
	if err != nil {
		return err
	}
	result, err := admin.Apply(ctx, access)
	if err != nil {
		return err
	}
	if !result.OK() {
		return fmt.Errorf("kubectl apply: %s", result)
	}
	return nil
}
