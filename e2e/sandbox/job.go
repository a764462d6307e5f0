package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/kubectl"
)

// tunnelURL is what GitLab writes into a job's kubeconfig: the tunnel that jobgate does without.
const tunnelURL = "https://kas.gitlab.example.com/k8s-proxy/"

// Job is a job's place on a runner: GitLab's kubeconfig for the job in $KUBECONFIG, where GitLab gives it one, and the
// variables that jobs of this kind use.
func (s *Sandbox) Job(job gitlabtest.Job, env ...string) (*kubectl.Workspace, error) {
	kubeconfig, err := s.GitLab.Kubeconfig(job.ID, tunnelURL)
	if err != nil && !errors.Is(err, gitlabtest.ErrNoKubeconfig) {
		return nil, fmt.Errorf("ask GitLab for the kubeconfig of job %d: %w", job.ID, err)
	}
	w, err := s.Workspace(append(env, "CI_JOB_ID="+strconv.FormatInt(job.ID, 10), "CI_JOB_TOKEN="+job.Token)...)
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

// PointToCluster are the arguments of the one kubectl command that jobgate asks a job for: instead of the tunnel, the
// kubeconfig's cluster becomes the API server itself.
func (s *Sandbox) PointToCluster(server *controlplane.APIServer) []string {
	return []string{
		"config", "set-cluster", "gitlab", "--server=" + server.URL, "--certificate-authority=" + s.Plane.CAFile(),
	}
}
