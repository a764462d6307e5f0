package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/jobgate/jobgate/e2e/kubectl"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

// outcome is what a command is expected to come to.
type outcome int

const (
	allowed      outcome = iota + 1
	forbidden            // 403: RBAC knows the user and refuses
	denied               // 403: jobgate knows the job and refuses
	unauthorized         // 401: nobody knows the token
	refused              // by jobgate or nobody
)

func (o outcome) String() string {
	return [...]string{
		"", "allowed", "refused by RBAC (403)", "refused by jobgate (403)", "refused, not logged in (401)", "refused",
	}[o]
}

// is compares a kubectl command's result with the outcome.
func (o outcome) is(r kubectl.Result) bool {
	switch o {
	case allowed:
		return r.OK()
	case forbidden:
		return !r.OK() && strings.Contains(r.Stderr, " is forbidden: User ") && !strings.Contains(r.Stderr, ": jobgate: ")
	case denied:
		return !r.OK() && strings.Contains(r.Stderr, ": jobgate: ")
	case unauthorized:
		return !r.OK() && strings.Contains(r.Stderr, "You must be logged in to the server")
	case refused:
		return denied.is(r) || unauthorized.is(r)
	default:
		return false
	}
}

// stage is where the scenes play: the installation, its people and the terminal.
type stage struct {
	*terminal
	site    *sandbox.Sandbox
	kubectl string // the program
	admin   actor
	jobs    map[int64]actor // at most one for each job of the world
	steps   int             // commands shown so far
}

// actor is somebody with a shell.
type actor struct {
	name string
	*kubectl.Workspace
}

func newStage(site *sandbox.Sandbox, kubectl string, show *terminal) (*stage, error) {
	admin, err := site.Admin()
	if err != nil {
		return nil, err
	}
	return &stage{
		terminal: show, site: site, kubectl: kubectl,
		admin: actor{name: "admin", Workspace: admin}, jobs: make(map[int64]actor),
	}, nil
}

// run shows a kubectl command, its output and what it came to, which must be the expected outcome.
func (s *stage) run(ctx context.Context, who actor, want outcome, line string) error {
	if err := s.show(ctx, who, want, line); err != nil {
		return err
	}
	s.outcome(want.String())
	return nil
}

// show is run for commands whose output says enough.
func (s *stage) show(ctx context.Context, who actor, want outcome, line string) error {
	result, err := who.Run(ctx, s.arguments(line)...)
	if err != nil {
		return err
	}
	s.print(who, line, result)
	if !want.is(result) {
		return fmt.Errorf("kubectl %s should have been %s: %s", line, want, result)
	}
	s.steps++
	return nil
}

func (s *stage) print(who actor, line string, result kubectl.Result) {
	s.command(who.name, "kubectl "+line)
	s.output(result.Stdout)
	s.output(result.Stderr)
}

// arguments splits a command line, in which the demo needs no quoting, and fills in the variables that jobs have.
func (s *stage) arguments(line string) []string {
	variables := strings.NewReplacer("$API_SERVER_CA", s.site.Plane.CAFile(), "$API_SERVER", s.site.API.URL)
	arguments := strings.Fields(line)
	for i := range arguments {
		arguments[i] = variables.Replace(arguments[i])
	}
	return arguments
}

// job is the job with the kubeconfig that GitLab injects.
func (s *stage) job(id int64, name string) (actor, error) {
	if known, ok := s.jobs[id]; ok {
		return known, nil
	}
	world, err := s.site.GitLab.Instance()
	if err != nil {
		return actor{}, err
	}
	workspace, err := s.site.Job(*world.Job(id))
	if err != nil {
		return actor{}, err
	}
	s.jobs[id] = actor{name: name, Workspace: workspace}
	return s.jobs[id], nil
}

// loginCommands are what a job's script begins with.
var loginCommands = []string{
	"config set-cluster gitlab --server=$API_SERVER --certificate-authority=$API_SERVER_CA",
	"config use-context " + agentContext,
}

func (s *stage) login(ctx context.Context, who actor) error {
	for _, line := range loginCommands {
		if err := s.show(ctx, who, allowed, line); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) loginUnseen(ctx context.Context, who actor) error {
	for _, line := range loginCommands {
		result, err := who.Run(ctx, s.arguments(line)...)
		if err != nil {
			return err
		}
		if !result.OK() {
			return fmt.Errorf("kubectl %s: %s", line, result)
		}
	}
	return nil
}

const (
	waitInterval = 250 * time.Millisecond
	waitLimit    = 2 * time.Minute
	waitTick     = 5 * time.Second
)

// await repeats a kubectl command unseen until it comes to the outcome, and says every few seconds that it waits. It
// returns the last result.
func (s *stage) await(ctx context.Context, who actor, want outcome, line string) (kubectl.Result, error) {
	begin := time.Now()
	next := begin.Add(waitTick)
	var last kubectl.Result
	err := wait.PollUntilContextTimeout(ctx, waitInterval, waitLimit, true, func(ctx context.Context) (bool, error) {
		result, err := who.Run(ctx, s.arguments(line)...)
		if err != nil {
			return false, err
		}
		if now := time.Now(); now.After(next) {
			s.say("... %.0f seconds", now.Sub(begin).Seconds())
			next = now.Add(waitTick)
		}
		last = result
		return want.is(result), nil
	})
	if err != nil {
		return last, fmt.Errorf("wait until kubectl %s is %s: %w", line, want, err)
	}
	return last, nil
}
