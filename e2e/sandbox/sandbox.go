// Package sandbox puts a whole jobgate installation together on loopback: a fake GitLab, jobgate, and a Kubernetes
// control plane that asks jobgate who a token is and what a job may not do. The tests and the demo use it; it knows
// neither.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/kubectl"
	"github.com/jobgate/jobgate/internal/pkitest"
)

// webhookCacheTTL is what jobgate recommends for --authentication-token-webhook-cache-ttl.
const webhookCacheTTL = 10 * time.Second

// startTimeout bounds the start of jobgate.
const startTimeout = time.Minute

// Options are what a sandbox starts with.
type Options struct {
	Binaries binaries.Set
	Instance gitlabtest.Instance
	// Configure changes jobgate's configuration, in which everything but the agents is set.
	Configure func(*config.Configuration)
	// JobgateArgs are added to jobgate serve, such as a log level.
	JobgateArgs []string
	// Race says that jobgate was built with the race detector: a race then ends it.
	Race bool
	// Step is called with the name of each part before it starts; may be nil.
	Step func(string)
}

// Sandbox is a running installation.
type Sandbox struct {
	Dir     string // every file is in here; Close removes it
	GitLab  *gitlabtest.Server
	Jobgate *Jobgate
	Plane   *controlplane.Plane
	API     *controlplane.APIServer // asks jobgate as the README says

	options       Options
	gitlabCA      string
	webhookCA     *pkitest.Authority // signs for both ends between API servers and jobgate
	webhookCAFile string

	mu       sync.Mutex
	jobgates []*Jobgate // the first is Jobgate
}

// Start starts everything and waits until it is ready. When it fails, nothing keeps running.
func Start(ctx context.Context, options Options) (*Sandbox, error) {
	dir, err := os.MkdirTemp("", "jobgate-e2e-")
	if err != nil {
		return nil, fmt.Errorf("make the sandbox's folder: %w", err)
	}
	s := &Sandbox{Dir: dir, options: options}
	for _, step := range []struct {
		name  string
		start func(context.Context) error
	}{
		{"a GitLab (fake)", s.startGitLab},
		{"jobgate", s.startJobgate},
		{"etcd", s.startPlane},
		{"kube-apiserver", s.startAPIServer},
		{"kube-controller-manager", func(ctx context.Context) error { return s.Plane.StartControllerManager(ctx, s.API) }},
	} {
		if options.Step != nil {
			options.Step(step.name)
		}
		if err := step.start(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w", step.name, err), s.Close())
		}
	}
	return s, nil
}

// Close stops everything, last started first, and removes the folder. It fails if something did not end well, such as
// a jobgate that the race detector stopped.
func (s *Sandbox) Close() error {
	var errs []error
	if s.Plane != nil {
		errs = append(errs, s.Plane.Stop())
	}
	for i := len(s.jobgates) - 1; i >= 0; i-- {
		errs = append(errs, s.jobgates[i].Stop())
	}
	if s.GitLab != nil {
		s.GitLab.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(s.Dir))...)
}

// Binaries are the programs that it runs.
func (s *Sandbox) Binaries() binaries.Set { return s.options.Binaries }

// Admin makes a workspace in which kubectl is the cluster's administrator.
func (s *Sandbox) Admin() (*kubectl.Workspace, error) {
	w, err := s.Workspace()
	if err != nil {
		return nil, err
	}
	return w, s.API.WriteAdminKubeconfig(w.Kubeconfig)
}

func (s *Sandbox) startJobgate(ctx context.Context) error {
	var err error
	if s.webhookCA, err = pkitest.NewAuthority("e2e-webhook"); err != nil {
		return err
	}
	if s.webhookCAFile, err = s.webhookCA.WriteCertificate(s.Dir, "webhook-ca"); err != nil {
		return err
	}
	s.Jobgate, err = s.StartJobgate(ctx, "jobgate", nil)
	return err
}

func (s *Sandbox) startPlane(ctx context.Context) error {
	var err error
	s.Plane, err = controlplane.Start(ctx, filepath.Join(s.Dir, "plane"), s.options.Binaries)
	return err
}

func (s *Sandbox) startAPIServer(ctx context.Context) error {
	var err error
	s.API, err = s.Plane.StartAPIServer(ctx, s.Jobgate.APIServer("kube-apiserver"))
	return err
}

// Workspace makes an empty workspace; the variables are "NAME=value".
func (s *Sandbox) Workspace(env ...string) (*kubectl.Workspace, error) {
	dir, err := os.MkdirTemp(s.Dir, "workspace-")
	if err != nil {
		return nil, fmt.Errorf("make a workspace: %w", err)
	}
	return kubectl.New(dir, s.options.Binaries.Kubectl, env...)
}

func (s *Sandbox) raceEnv() []string {
	if !s.options.Race {
		return nil
	}
	return []string{"GORACE=halt_on_error=1"}
}
