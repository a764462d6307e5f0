package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// keep leaves two jobs to the reader until Ctrl-C. A line of input ends both of them.
func (s *session) keep(ctx context.Context, input io.Reader) error {
	s.say("")
	s.say("Everything keeps running, and two jobs of project 150 are yours. In another terminal, for each of them:")
	for _, job := range []struct {
		id          int64
		name, about string
	}{
		{allowedJob, "allowed", "environment prod, on the protected branch main"},
		{restrictedJob, "restricted", "environment staging, for which the namespace shop is closed"},
	} {
		file, err := s.variablesFile(ctx, job.id, job.name)
		if err != nil {
			return err
		}
		s.say("")
		s.say("  . %s    # %s", file, job.about)
	}
	s.say("")
	s.say("Then try, for example:")
	s.say("  kubectl auth whoami")
	s.say("  kubectl get deployments -n shop")
	s.say("  kubectl get secrets -n kube-system    # refused to both")
	s.say("  jobgate doctor")
	s.say("")
	s.say("The administrator: export KUBECONFIG=%s", s.admin.Kubeconfig)
	s.say("Metrics: %s/metrics   Log: %s", s.site.Jobgate.HealthURL, s.site.Jobgate.LogFile)
	s.say("")
	s.say("Press Enter here to end both jobs. Ctrl-C stops everything and removes its files.")
	return s.waitForInterrupt(ctx, input)
}

func (s *session) waitForInterrupt(ctx context.Context, input io.Reader) error {
	lines := make(chan struct{})
	go func() { // ends with the program: a read of the terminal cannot be given up
		for scanner := bufio.NewScanner(input); scanner.Scan(); {
			lines <- struct{}{}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			s.say("")
			return nil
		case <-lines:
			if err := s.end(allowedJob, restrictedJob); err != nil {
				return err
			}
			s.say("Both jobs have ended. In %s jobgate knows, and refuses them.", recheck)
		}
	}
}

// variablesFile is a script that gives a shell what the job has: GitLab's variables, the kubeconfig, and a PATH with
// kubectl and jobgate.
func (s *session) variablesFile(ctx context.Context, id int64, name string) (string, error) {
	job, err := s.loggedIn(ctx, id, name+" job")
	if err != nil {
		return "", err
	}
	gitlab := s.site.GitLab.Instance()
	variables, err := s.site.Variables(*gitlab.Job(id))
	if err != nil {
		return "", err
	}
	variables = append(variables,
		"KUBECONFIG="+job.Kubeconfig, "KUBECACHEDIR="+job.Cache,
		"JOBGATE_URL="+s.site.API.URL, "JOBGATE_CA_FILE="+s.site.Plane.CAFile(),
	)
	var script strings.Builder
	for _, variable := range variables {
		key, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&script, "export %s='%s'\n", key, value) // no value has a quote
	}
	fmt.Fprintf(&script, "export PATH='%s':'%s':\"$PATH\"\n",
		filepath.Dir(s.programs.Kubectl), filepath.Dir(s.programs.Jobgate))
	file := filepath.Join(s.site.Dir, name+"-job.sh")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		return "", fmt.Errorf("write the variables of job %d: %w", id, err)
	}
	return file, nil
}
