package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
)

// The exit statuses of explain.
const (
	statusDenied = 1
	statusUsage  = 2
)

// maxInput bounds what is read of a reply or token, in bytes; GitLab's replies are held to the same.
const maxInput = 1 << 20

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
			if err := e.write(cmd.OutOrStdout(), o.output); err != nil {
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

func (o *explainOptions) explain(ctx context.Context, stdin io.Reader) (*explanation, error) {
	if o.output != "text" && o.output != "json" {
		return nil, fmt.Errorf("--output is %q, want text or json", o.output)
	}
	attributes, err := o.request.attributes()
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(o.configFile)
	if err != nil {
		return nil, fmt.Errorf("configuration is not valid\n%w", err)
	}
	j, rejected, err := o.job(ctx, cfg, stdin)
	if err != nil {
		return nil, err
	}
	if rejected != nil {
		return &explanation{Denied: true, Rejected: rejected.Error()}, nil
	}
	identity, err := tokenreview.New(nil, authentication(cfg)).Identify(j, o.agentID)
	var refusal *tokenreview.RejectedError
	if errors.As(err, &refusal) {
		return &explanation{Denied: true, Rejected: refusal.Error()}, nil
	}
	e := newExplanation(identity)
	if attributes == nil {
		return e, nil
	}
	attributes.User = identity
	return e, e.judge(cfg, attributes, j)
}

// job reads or asks for the job; rejected is GitLab's definite no.
func (o *explainOptions) job(ctx context.Context, cfg *config.Configuration, stdin io.Reader) (j *job.Job, rejected error, err error) {
	if o.replyFile != "" {
		body, err := readInput(o.replyFile, stdin)
		if err != nil {
			return nil, nil, fmt.Errorf("read the reply: %w", err)
		}
		reply, err := gitlab.ParseAllowedAgents(body)
		if err != nil {
			return nil, nil, fmt.Errorf("read the reply: %w", err)
		}
		return job.FromReply(reply, jobSettings(cfg).Agents), nil, nil
	}
	text, err := readInput(o.tokenFile, stdin)
	if err != nil {
		return nil, nil, fmt.Errorf("read the token: %w", err)
	}
	client, err := newSource(cfg, gitlab.NewMetrics(nil))
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	registry, err := job.NewRegistry(client, jobSettings(cfg), nil)
	if err != nil {
		return nil, nil, err
	}
	answer, err := registry.Lookup(ctx, strings.TrimSpace(string(text)), time.Time{})
	var refused *gitlab.RejectedError
	if errors.As(err, &refused) {
		return nil, err, nil
	}
	return answer.Job, nil, err
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

// judge adds what each rule makes of the request.
func (e *explanation) judge(cfg *config.Configuration, attributes authorizer.Attributes, j *job.Job) error {
	a, err := authz.New(nil, authorization(cfg))
	if err != nil {
		return err
	}
	for _, v := range a.Explain(attributes, j) {
		e.Verdicts = append(e.Verdicts, verdict{
			Rule: string(v.Rule), Restriction: v.Restriction, Outcome: string(v.Outcome), Reason: v.Reason,
		})
		e.Denied = e.Denied || v.Outcome == authz.Denied
	}
	return nil
}

func newExplanation(u user.Info) *explanation {
	return &explanation{Identity: &identity{
		Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: u.GetExtra(),
	}}
}
