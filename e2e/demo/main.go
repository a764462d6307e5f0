// Command demo starts a GitLab (a fake), jobgate and a real Kubernetes control plane on this machine, then shows with
// the real kubectl what CI jobs may do. With KEEP=1 in the environment everything keeps running until Ctrl-C. With
// PICTURE=FILE some scenes are drawn into an SVG file, too.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/jobgate/jobgate/internal/config"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	colour := term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == ""
	show := &terminal{out: os.Stdout, colour: colour, picture: new(picture)}
	err := run(ctx, show, os.Getenv("KEEP") == "1")
	if file := os.Getenv("PICTURE"); err == nil && file != "" {
		err = os.WriteFile(file, show.picture.svg("jobgate's demo on a terminal"), 0o644)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		show.say("Interrupted. Everything is stopped.")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run plays the scenes and, whatever happens, leaves nothing behind.
func run(ctx context.Context, show *terminal, keep bool) (err error) {
	show.say("A GitLab (a fake), jobgate and a real Kubernetes control plane, all on this machine.")
	set, err := binaries.Build(ctx, binaries.Options{Progress: os.Stderr})
	if err != nil {
		return fmt.Errorf("build what the demo needs: %w", err)
	}
	begin := time.Now()
	secrets, err := os.MkdirTemp("", "jobgate-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the access token: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(secrets)) }()
	tokenFile := filepath.Join(secrets, "gitlab-token")
	if err := os.WriteFile(tokenFile, []byte(accessToken+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the access token: %w", err)
	}
	site, err := sandbox.Start(ctx, sandbox.Options{
		Binaries: set, Instance: newInstance(), Configure: func(c *config.Configuration) { configure(c, tokenFile) },
		Step: func(name string) { show.say("Start %s ...", name) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	show.say("Ready in %.0f seconds.", time.Since(begin).Seconds())

	s, err := newSession(site, set, show)
	if err != nil {
		return err
	}
	for i, scene := range scenes {
		show.picture.on = scene.pictured
		show.title(i+1, scene.title)
		if err := scene.play(ctx, s); err != nil {
			return fmt.Errorf("scene %d, %s: %w", i+1, scene.title, err)
		}
	}
	show.picture.on = false
	show.summary(len(scenes), s.commands)
	if keep {
		return s.keep(ctx, os.Stdin)
	}
	show.say("KEEP=1 make demo leaves it running, for you to try things.")
	return nil
}
