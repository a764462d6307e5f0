package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

const (
	cluster  = "soak"
	audience = "https://soak.example.com"
	// latency is GitLab's for every question.
	latency = 50 * time.Millisecond
	// requestTimeout is longer than kube-apiserver's patience with jobgate.
	requestTimeout = 40 * time.Second
	settleTime     = 5 * time.Second
)

// access is what the jobs may do.
const access = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: soak}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: soak}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: soak}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gitlab:ci_job"}
`

// installation is a cluster whose API server asks two instances of jobgate, which share a PKI and a configuration.
type installation struct {
	secrets   string // a folder
	site      *sandbox.Sandbox
	instances [2]*sandbox.Jobgate
	pki       *certs.PKI
	api       *controlplane.APIServer
	client    *http.Client
}

func install(ctx context.Context) (_ *installation, err error) {
	set, err := binaries.Build(ctx, binaries.Options{Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	secrets, err := os.MkdirTemp("", "jobgate-soak-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the access token: %w", err)
	}
	in := &installation{secrets: secrets}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.close())
		}
	}()
	if err := in.start(ctx, set); err != nil {
		return nil, err
	}
	if in.api, err = in.site.Plane.StartAPIServer(ctx, in.instances[0].APIServer("kube-apiserver-soak")); err != nil {
		return nil, err
	}
	in.client = &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: in.site.Plane.Roots()},
	}}
	admin, err := in.site.Admin()
	if err != nil {
		return nil, err
	}
	if result, err := admin.Apply(ctx, access); err != nil || !result.OK() {
		return nil, errors.Join(err, fmt.Errorf("kubectl apply: %s", result))
	}
	return in, nil
}

// start starts the sandbox, and beside its own jobgate the two instances.
func (in *installation) start(ctx context.Context, set binaries.Set) (err error) {
	tokenFile := filepath.Join(in.secrets, "access-token")
	if err := os.WriteFile(tokenFile, []byte(gitlabtest.ExampleToken+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the access token: %w", err)
	}
	in.site, err = sandbox.Start(ctx, sandbox.Options{
		Binaries: set, Instance: gitlabtest.Example(),
		Configure: func(c *config.Configuration) {
			c.Agents = []config.Agent{{ID: gitlabtest.ExampleAgent}}
			c.GitLab.TokenFile, c.Cluster.Name, c.IDTokens.Audience = tokenFile, cluster, audience
			c.Grants = []policy.Grant{{Name: "soak", Projects: []int64{gitlabtest.ExampleProject}}}
			c.Serving.ReusePort = true
		},
	})
	if err != nil {
		return err
	}
	in.heal()
	if in.instances[0], in.pki, err = in.site.StartJobgateWithPKI(ctx, "jobgate-soak", certs.Request{}); err != nil {
		return err
	}
	in.instances[1], err = in.site.StartSecond(ctx, in.instances[0])
	return err
}

func (in *installation) close() error {
	var err error
	if in.site != nil {
		err = in.site.Close()
	}
	return errors.Join(err, os.RemoveAll(in.secrets))
}

// heal gives GitLab back its usual latency, and nothing else.
func (in *installation) heal() {
	in.site.GitLab.ClearFaults()
	in.site.GitLab.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AnyEndpoint, Delay: latency})
}

// disturb has GitLab do something else instead.
func (in *installation) disturb(f gitlabtest.Fault) {
	in.site.GitLab.ClearFaults()
	in.site.GitLab.Fault(f)
}

// calls are those to GitLab.
func (in *installation) calls() int { return in.site.GitLab.Calls(gitlabtest.AnyEndpoint) }

// idle waits until what the jobs have used is given back.
func (in *installation) idle() {
	in.client.CloseIdleConnections()
	time.Sleep(settleTime)
}

// usage is what both instances use together.
type usage struct{ memory, goroutines, descriptors float64 }

func (in *installation) usage(ctx context.Context) (u usage, err error) {
	for _, instance := range in.instances {
		for name, into := range map[string]*float64{
			"process_resident_memory_bytes": &u.memory, "go_goroutines": &u.goroutines, "process_open_fds": &u.descriptors,
		} {
			value, err := instance.Metric(ctx, name, nil)
			if err != nil {
				return u, fmt.Errorf("read what jobgate uses: %w", err)
			}
			*into += value
		}
	}
	return u, nil
}
