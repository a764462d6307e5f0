package sandbox

import (
	"errors"
	"fmt"
	"os"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/kubectl"
)

// tunnelURL is what GitLab writes into a job's kubeconfig: the tunnel, which jobgate does not use.
const tunnelURL = "https://kas.gitlab.example.com/k8s-proxy/"

// Job is a job's place on a runner: GitLab's variables, its kubeconfig in $KUBECONFIG if GitLab gives the job one, and
// the given variables, which win.
func (s *Sandbox) Job(job gitlabtest.Job, env ...string) (*kubectl.Workspace, error) {
	kubeconfig, err := s.GitLab.Kubeconfig(job.ID, tunnelURL)
	if err != nil && !errors.Is(err, gitlabtest.ErrNoKubeconfig) {
		return nil, fmt.Errorf("ask GitLab for the kubeconfig of job %d: %w", job.ID, err)
	}
	variables, err := s.Variables(job)
	if err != nil {
		return nil, err
	}
	w, err := s.Workspace(append(variables, env...)...)
	if err != nil {
		return nil, err
	}
	if kubeconfig == nil {
		return w, nil
	}
	if err := os.WriteFile(w.Kubeconfig, kubeconfig, 0o600); err != nil {
		return nil, fmt.Errorf("write the kubeconfig of job %d: %w", job.ID, err)
	}
	return w, nil
}

// Variables are those that GitLab and the runner give the job.
func (s *Sandbox) Variables(job gitlabtest.Job) ([]string, error) {
	variables, err := s.GitLab.Variables(job.ID)
	if err != nil {
		return nil, fmt.Errorf("ask GitLab for the variables of job %d: %w", job.ID, err)
	}
	return append(variables, "CI_SERVER_TLS_CA_FILE="+s.gitlabCA), nil
}

// PointToCluster are the arguments of the one kubectl command that a job needs for jobgate: the kubeconfig's cluster becomes
// the API server itself instead of the tunnel.
func (s *Sandbox) PointToCluster(server *controlplane.APIServer) []string {
	return []string{
		"config", "set-cluster", "gitlab", "--server=" + server.URL, "--certificate-authority=" + s.Plane.CAFile(),
	}
}
