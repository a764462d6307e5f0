package main

import (
	"context"
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
	configFile string
	replyFile  string
	tokenFile  string
	agentID    int64
	request    requestOptions
	output     string
}

func newExplainCommand() *cobra.Command {
	o := explainOptions{}
	cmd := &cobra.Command{
		Use:   "explain --config FILE (--reply FILE | --token-file FILE) --agent ID [--verb VERB --resource RESOURCE]",
		Short: "Say who a job is to the cluster, and what each rule makes of a request",
		Long: "Say who a job is to the cluster, and what each rule makes of a request.\n\n" +
			"The job comes from a reply of GitLab's allowed_agents (--reply), or from a live token, which GitLab is then asked\n" +
			"about (--token-file). Both are read from a file, or from standard input where FILE is -; a token is never an\n" +
			"argument, since every user of a machine can read those.\n\n" +
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
	f.StringVar(&o.configFile, "config", "", "jobgate's configuration file (required)")
	f.StringVar(&o.replyFile, "reply", "", "a file with a reply of allowed_agents, or -")
	f.StringVar(&o.tokenFile, "token-file", "", "a file with a CI_JOB_TOKEN of a running job, or -")
	f.Int64Var(&o.agentID, "agent", 0, "the agent's id (required)")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	o.request.addFlags(f)
	for _, name := range []string{"config", "agent"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a misspelt flag name above
		}
	}
	cmd.MarkFlagsOneRequired("reply", "token-file")
	cmd.MarkFlagsMutuallyExclusive("reply", "token-file")
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
	if o.replyFile != "" {
		if q.Reply, err = readInput(o.replyFile, stdin); err != nil {
			return nil, fmt.Errorf("read the reply: %w", err)
		}
		return daemon.Explain(ctx, cfg, q)
	}
	text, err := readInput(o.tokenFile, stdin)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	q.Credential = job.Credential{Kind: job.JobToken, Token: strings.TrimSpace(string(text))}
	return daemon.Explain(ctx, cfg, q)
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
