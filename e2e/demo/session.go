package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/kubectl"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

// outcome is the result that a command is expected to have.
type outcome int

const (
	allowed      outcome = iota + 1
	forbidden            // 403: RBAC gives the user no such right
	denied               // 403: jobgate refuses
	ended                // 403: jobgate refuses, because the job has ended
	unauthorized         // 401: the token is refused
)

func (o outcome) String() string {
	return [...]string{
		"", "allowed", "refused by RBAC (403)", "refused by jobgate (403)", "refused by jobgate: the job has ended (403)",
		"refused, not logged in (401)",
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
	case ended:
		return denied.is(r) && strings.Contains(r.Stderr, " has ended")
	case unauthorized:
		return !r.OK() && strings.Contains(r.Stderr, "You must be logged in to the server")
	default:
		return false
	}
}

// session is what the scenes work with: the installation, its users and the terminal.
type session struct {
	*terminal
	site     *sandbox.Sandbox
	programs binaries.Set
	admin    user
	jobs     map[int64]user // at most one for each job of the instance
	commands int            // shown so far
}

// user is an administrator or a job, with a shell.
type user struct {
	name string
	*kubectl.Workspace
}

func newSession(site *sandbox.Sandbox, programs binaries.Set, show *terminal) (*session, error) {
	admin, err := site.Admin()
	if err != nil {
		return nil, err
	}
	return &session{
		terminal: show, site: site, programs: programs,
		admin: user{name: "admin", Workspace: admin}, jobs: make(map[int64]user),
	}, nil
}

// run shows a kubectl command, its output and its outcome, which must be the expected one.
func (s *session) run(ctx context.Context, who user, want outcome, line string) error {
	if err := s.show(ctx, who, want, line); err != nil {
		return err
	}
	s.outcome(want.String())
	return nil
}

// show is run for commands whose output says enough.
func (s *session) show(ctx context.Context, who user, want outcome, line string) error {
	result, err := who.Run(ctx, s.arguments(line)...)
	if err != nil {
		return err
	}
	s.print(who, line, result)
	if !want.is(result) {
		return fmt.Errorf("kubectl %s should have been %s: %s", line, want, result)
	}
	s.commands++
	return nil
}

func (s *session) print(who user, line string, result kubectl.Result) {
	s.commandLine(who.name, "kubectl "+line)
	s.output(result.Stdout)
	s.output(result.Stderr)
}

// arguments splits a command line, in which the demo needs no quoting, and fills in the variables that jobs have.
func (s *session) arguments(line string) []string {
	variables := strings.NewReplacer("$API_SERVER_CA", s.site.Plane.CAFile(), "$API_SERVER", s.site.API.URL)
	arguments := strings.Fields(line)
	for i := range arguments {
		arguments[i] = variables.Replace(arguments[i])
	}
	return arguments
}

// job is the job with the kubeconfig that GitLab injects.
func (s *session) job(id int64, name string) (user, error) {
	if known, ok := s.jobs[id]; ok {
		return known, nil
	}
	gitlab := s.site.GitLab.Instance()
	workspace, err := s.site.Job(*gitlab.Job(id))
	if err != nil {
		return user{}, err
	}
	s.jobs[id] = user{name: name, Workspace: workspace}
	return s.jobs[id], nil
}

// loginCommands are what a job's script begins with.
var loginCommands = []string{
	"config set-cluster gitlab --server=$API_SERVER --certificate-authority=$API_SERVER_CA",
	"config use-context " + agentContext,
}

func (s *session) login(ctx context.Context, who user) error {
	for _, line := range loginCommands {
		if err := s.show(ctx, who, allowed, line); err != nil {
			return err
		}
	}
	return nil
}

// loggedIn is the job after a login that is not shown.
func (s *session) loggedIn(ctx context.Context, id int64, name string) (user, error) {
	who, err := s.job(id, name)
	if err != nil {
		return who, err
	}
	for _, line := range loginCommands {
		result, err := who.Run(ctx, s.arguments(line)...)
		if err != nil {
			return who, err
		}
		if !result.OK() {
			return who, fmt.Errorf("kubectl %s: %s", line, result)
		}
	}
	return who, nil
}

const (
	waitInterval = 250 * time.Millisecond
	waitLimit    = 2 * time.Minute
	waitTick     = 5 * time.Second
)

// await repeats a kubectl command unseen until it has the outcome, and says every few seconds that it waits. It returns
// the last result.
func (s *session) await(ctx context.Context, who user, want outcome, line string) (kubectl.Result, error) {
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
