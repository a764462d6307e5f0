// Package e2e_test logs CI jobs in to a real kube-apiserver, with the real kubectl, through jobgate. GitLab alone is a
// fake.
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

// site is the one installation that all tests share: starting it costs seconds. Tests keep apart by using jobs,
// namespaces and users of their own, and leave it as they found it.
var site *sandbox.Sandbox

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	finished := make(chan int, 1)
	go func() { finished <- m.Run() }()
	code := 1
	select {
	case code = <-finished:
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr, "e2e: interrupted")
	}
	if err := errors.Join(sweepForTokens(), sweepForUnexplained(), site.Close()); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}

func start(ctx context.Context) error {
	set, err := binaries.Build(ctx, binaries.Options{Race: true, Progress: os.Stderr})
	if err != nil {
		return fmt.Errorf("the programs to test cannot be built: %w", err)
	}
	site, err = sandbox.Start(ctx, sandbox.Options{
		Binaries: set, Instance: newInstance(), Configure: configure, Race: true,
		// The most verbose level, so that anything that could leak does.
		JobgateArgs: []string{"-v=10", "--logging-format=json"},
	})
	if err != nil {
		return fmt.Errorf("the installation to test cannot be started: %w", err)
	}
	if err := grant(ctx); err != nil {
		return errors.Join(fmt.Errorf("the rights for the tests cannot be granted: %w", err), site.Close())
	}
	return nil
}

// grant gives the tests of authorization their rights, and waits until the API server knows of them.
func grant(ctx context.Context) error {
	admin, err := site.Admin()
	if err != nil {
		return err
	}
	result, err := admin.Apply(ctx, authorizationManifest)
	if err != nil || !result.OK() {
		return errors.Join(err, fmt.Errorf("kubectl apply: %s", result))
	}
	const effective = "auth can-i list configmaps -n shop --as=static-bot"
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		result, err := admin.Run(ctx, strings.Fields(effective)...)
		return result.OK(), err
	})
}

// tokenRun is text that a token can be: what separates a token from its surroundings ends it.
var tokenRun = regexp.MustCompile(`[A-Za-z0-9._~+/-]{20,}`)

// sweepForTokens looks for every token that the run used in everything that any jobgate logged meanwhile.
func sweepForTokens() error {
	logs, err := filepath.Glob(filepath.Join(site.Dir, "jobgate*.log"))
	if err != nil {
		return err
	}
	tokens := allTokens()
	runs := map[string]string{} // of a whole credential only its runs are in the log as they are
	for token, owner := range tokens {
		for _, run := range tokenRun.FindAllString(token, -1) {
			runs[run] = owner
		}
	}
	for _, name := range logs {
		log, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read a log: %w", err)
		}
		for _, run := range tokenRun.FindAll(log, -1) {
			if owner, found := runs[string(run)]; found {
				return fmt.Errorf("%s shows the token of %s", filepath.Base(name), owner)
			}
		}
	}
	log, err := os.ReadFile(site.Jobgate.LogFile)
	if err != nil {
		return fmt.Errorf("read jobgate's log: %w", err)
	}
	for token, owner := range tokens {
		if strings.Contains(string(log), token) {
			return fmt.Errorf("jobgate's log shows the token of %s", owner)
		}
	}
	return nil
}
