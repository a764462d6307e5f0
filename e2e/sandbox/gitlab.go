package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/process"
)

// startGitLab starts the fake with HTTPS, which is how jobgate expects to meet a GitLab.
func (s *Sandbox) startGitLab(ctx context.Context) error {
	dir := filepath.Join(s.Dir, "gitlab")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make GitLab's folder: %w", err)
	}
	address, err := s.loopbackAddress()
	if err != nil {
		return err
	}
	control, err := s.loopbackAddress()
	if err != nil {
		return err
	}
	world, err := yaml.Marshal(s.options.Instance)
	if err != nil {
		return fmt.Errorf("encode GitLab's world: %w", err)
	}
	worldFile := filepath.Join(dir, "world.yaml")
	if err := os.WriteFile(worldFile, world, 0o600); err != nil {
		return fmt.Errorf("write GitLab's world: %w", err)
	}
	s.gitlabCA = filepath.Join(dir, "ca.crt")
	s.gitlab, err = process.Start(process.Spec{
		Name: "gitlabd", Path: s.options.Binaries.Gitlabd, LogFile: filepath.Join(s.Dir, "gitlabd.log"), Env: s.raceEnv(),
		Args: []string{
			"--listen=" + address, "--control=" + control, "--world=" + worldFile, "--tls", "--ca-file=" + s.gitlabCA,
		},
	})
	if err != nil {
		return err
	}
	s.ControlURL, s.gitlabURL = "http://"+control, "https://"+address
	s.GitLab = gitlabtest.Dial(s.ControlURL)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return s.gitlab.WaitReady(ctx, func(context.Context) error {
		_, err := s.GitLab.URL()
		return err
	})
}
