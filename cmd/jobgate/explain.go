package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/daemon"
	"github.com/jobgate/jobgate/internal/job"
)

// The exit statuses of explain.
const (
	statusDenied = 1
	statusUsage  = 2
)

// maxInput bounds what is read of a reply or token, in bytes; GitLab's replies are held to the same.
const maxInput = 16 << 20

type explainOptions struct {
	configFile  string
	replyFile   string
	tokenFile   string
	idTokenFile string
	claimsFile  string
	agentID     int64
	request     requestOptions
	output      string
}

func newExplainCommand() *cobra.Command {
	o := explainOptions{}
	cmd := &cobra.Command{
		Use:   "explain --config FILE (--reply FILE | --token-file FILE | --id-token-file FILE | --claims FILE) [--agent ID] [--verb VERB --resource RESOURCE]",
		Short: "Say who a job is to the cluster, and what each rule decides about a request",
		Long: "Say who a job is to the cluster, and what each rule decides about a request.\n\n" +
			"The job comes from one of these, each a file, or standard input if FILE is -. A token is never an argument, since\n" +
			"every user of a machine can read those.\n\n" +
			"  --reply          a reply of GitLab's allowed_agents\n" +
			"  --token-file     a live job token; GitLab is asked about it\n" +
			"  --id-token-file  an ID token; GitLab's keys verify it, and GitLab is asked what the configuration requires\n" +
			"  --claims         the claims of an ID token, as JSON; they are not verified, and GitLab is not asked\n\n" +
			"With --agent the job is judged as one that uses this agent, without it by the cluster's grants.\n\n" +
			"The exit status is 0 for no opinion (RBAC decides), 1 for denied or rejected, 2 for bad usage or input.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := o.explain(cmd.Context(), cmd.InOrStdin())
			if err != nil {
				return &statusError{code: statusUsage, err: err}
			}
			if err := writeExplanation(cmd.OutOrStdout(), e, o.output); err != nil {
				return &statusError{code: statusUsage, err: err}
			}
			if e.Denied {
				return &statusError{code: statusDenied}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.configFile, "config", installedConfig, "jobgate's configuration file")
	f.StringVar(&o.replyFile, "reply", "", "a file with a reply of allowed_agents, or -")
	f.StringVar(&o.tokenFile, "token-file", "", "a file with a CI_JOB_TOKEN of a running job, or -")
	f.StringVar(&o.idTokenFile, "id-token-file", "", "a file with an ID token of a job, or -")
	f.StringVar(&o.claimsFile, "claims", "", "a file with the claims of an ID token, or -; they are not verified")
	f.Int64Var(&o.agentID, "agent", 0, "the agent's id; without it the cluster's grants judge the job")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	o.request.addFlags(f)
	cmd.MarkFlagsOneRequired("reply", "token-file", "id-token-file", "claims")
	cmd.MarkFlagsMutuallyExclusive("reply", "token-file", "id-token-file", "claims")
	cmd.MarkFlagsMutuallyExclusive("agent", "id-token-file", "claims")
	return cmd
}

func (o *explainOptions) explain(ctx context.Context, stdin io.Reader) (*daemon.Explanation, error) {
	if o.output != "text" && o.output != "json" {
		return nil, fmt.Errorf("--output is %q, want text or json", o.output)
	}
	request, err := o.request.attributes()
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(o.configFile)
	if err != nil {
		return nil, fmt.Errorf("configuration is not valid\n%w", err)
	}
	q := daemon.Question{AgentID: o.agentID, Request: request, UserAgent: "jobgate/" + versionText()}
	if err := o.readJob(&q, stdin); err != nil {
		return nil, err
	}
	e, err := daemon.Explain(ctx, cfg, q)
	if errors.Is(err, daemon.ErrNoGrants) {
		return nil, fmt.Errorf("--agent is missing: %w", err)
	}
	return e, err
}

// readJob reads the file that says which job it is.
func (o *explainOptions) readJob(q *daemon.Question, stdin io.Reader) error {
	credential := func(text []byte, kind job.Kind) {
		q.Credential = job.Credential{Kind: kind, Token: strings.TrimSpace(string(text))}
	}
	for _, input := range []struct {
		name, file string
		use        func([]byte)
	}{
		{name: "reply", file: o.replyFile, use: func(text []byte) { q.Reply = text }},
		{name: "token", file: o.tokenFile, use: func(text []byte) { credential(text, job.JobToken) }},
		{name: "ID token", file: o.idTokenFile, use: func(text []byte) { credential(text, job.IDToken) }},
		{name: "claims", file: o.claimsFile, use: func(text []byte) { q.Claims = text }},
	} {
		if input.file == "" {
			continue
		}
		text, err := readInput(input.file, stdin)
		if err != nil {
			return fmt.Errorf("read the %s: %w", input.name, err)
		}
		input.use(text)
	}
	return nil
}

func readInput(name string, stdin io.Reader) ([]byte, error) {
	source := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		source = f
	}
	text, err := io.ReadAll(io.LimitReader(source, maxInput+1))
	if err == nil && len(text) > maxInput {
		err = fmt.Errorf("more than %d bytes", maxInput)
	}
	return text, err
}
