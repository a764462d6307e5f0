package main

import (
	"context"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/daemon"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// Two instances read one configuration and share its address. Each has its health, a change reaches both, and when one ends, the other
// one answers.
func TestServe_SecondInstance(t *testing.T) {
	s := gitlabtest.New(t, gitlabtest.Instance{
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}},
		Projects: []gitlabtest.Project{{ID: 150, Group: 23, Path: "group1/project1"}},
		Users:    []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Agents:   []gitlabtest.Agent{{ID: 4, Name: "four", Project: 150}},
		Jobs:     []gitlabtest.Job{{ID: 1001, Project: 150, User: 9, Status: "running"}},
	})
	w := s.Instance()
	first := newServed(t, s.URL())
	first.config = strings.Replace(first.config, "serving: {", "serving: {reusePort: true, ", 1)
	first.rewrite(t, first.config)
	first.start(t)
	second := *first
	second.health, second.ended = freeAddress(t), make(chan error, 1)
	second.startBeside(t)

	first.rewrite(t, first.config+"restrictions: [{name: none, require: {projects: [1]}}]\n")
	first.await(t, `jobgate_config_reloads_total{result="applied"} 1`)
	second.await(t, `jobgate_config_reloads_total{result="applied"} 1`)

	first.stop(t)
	if got := second.login(t, 4, w.Job(1001).Token); !strings.Contains(got, "gitlab:agent:4") {
		t.Errorf("the second alone: %s", got)
	}
	second.stop(t)
}

// startBeside starts another instance in this process, which has only one set of logging flags.
func (d *served) startBeside(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	instance, err := daemon.New(ctx, daemon.Options{ConfigFile: d.file, HealthAddress: d.health})
	if err != nil {
		t.Fatal(err)
	}
	d.cancel = cancel
	go func() { d.ended <- instance.Run(ctx) }()
	t.Cleanup(cancel)
}
