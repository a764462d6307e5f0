package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// startGitLab starts the fake in this process, with HTTPS, which is how jobgate expects to meet a GitLab.
func (s *Sandbox) startGitLab(context.Context) error {
	var err error
	if s.GitLab, err = gitlabtest.Start(gitlabtest.Options{TLS: true, Instance: s.options.Instance}); err != nil {
		return err
	}
	s.gitlabCA = filepath.Join(s.Dir, "gitlab-ca.crt")
	if err := os.WriteFile(s.gitlabCA, s.GitLab.CACertPEM(), 0o600); err != nil {
		return fmt.Errorf("write the CA of GitLab: %w", err)
	}
	return nil
}
