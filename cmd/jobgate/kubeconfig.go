package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// maxName bounds what is shown of a name, in characters. GitLab's longest full path is shorter.
const maxName = 1024

// stdoutFile is the name of an output file that means standard output.
const stdoutFile = "-"

type kubeconfigOptions struct {
	server, caFile  string
	agents          []string
	cluster         string
	idTokenVariable string
	context         string
	namespace       string
	outputFile      string
	timeout         time.Duration
}

const kubeconfigLong = `Make the job's kubeconfig point directly at the API server. Run it in a job's script, before kubectl.

With an agent (the default): jobgate asks GitLab which agents the job may use. The context of each, as GitLab's kubeconfig
names it, gets its own cluster entry with the API server's address. An agent belongs to one cluster, so if the job has
agents of several clusters, name this cluster's with --agent. If GitLab's agent server (KAS) is off, GitLab sets no
kubeconfig and tells no names; a context is then called <config project>:agent-<id>, and --agent ID=CONTEXT gives it another
name.

Without an agent (--cluster): the context logs in with ci:NAME:$CI_JOB_TOKEN, or with the ID token in the variable that
--id-token-variable names. jobgate does not ask GitLab; the grants of the cluster decide.

Other entries stay as they are. The file is replaced as a whole, and only its owner may read it.

The exit status is 0, or 1 with the reason on standard error, or 2 for bad usage. If kubectl is refused afterwards, "jobgate
doctor" finds the cause.`

const kubeconfigExample = `  # in .gitlab-ci.yml, with the CI/CD variables JOBGATE_URL and JOBGATE_CA_FILE (type file)
  script:
    - jobgate kubeconfig --agent=path/to/agent/project:agent-name
    - kubectl apply -f deployment.yaml

  # if GitLab sets no KUBECONFIG
  script:
    - export KUBECONFIG="$CI_PROJECT_DIR.tmp/kubeconfig"
    - jobgate kubeconfig --agent=4=path/to/agent/project:agent-name

  # without an agent
  script:
    - export KUBECONFIG="$CI_PROJECT_DIR.tmp/kubeconfig"
    - jobgate kubeconfig --cluster=prod --server=https://api.prod.example.com:6443 --ca=ca.crt`

func newKubeconfigCommand() *cobra.Command {
	o := kubeconfigOptions{}
	cmd := &cobra.Command{
		Use:     "kubeconfig [--server URL] [--ca FILE] [--agent ID|CONTEXT|ID=CONTEXT]... | --cluster NAME [--id-token-variable NAME]",
		Short:   "In a CI job: make the kubeconfig point directly at the API server",
		Long:    kubeconfigLong,
		Example: kubeconfigExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), os.Getenv, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "", "the API server's URL (default $"+cijob.VarURL+")")
	addCA(f, &o.caFile, "a file with the API server's CA, which is copied into the kubeconfig (default $"+cijob.VarCAFile+", else the system's CAs)")
	f.StringSliceVar(&o.agents, "agent", nil,
		"an agent of this cluster, as ID, CONTEXT or ID=CONTEXT; may be repeated (default $"+cijob.VarAgentID+", else all)")
	f.StringVar(&o.cluster, "cluster", "", "the cluster's name, to log in without an agent (default $"+cijob.VarCluster+")")
	f.StringVar(&o.idTokenVariable, "id-token-variable", "",
		"with --cluster: the CI/CD variable with an ID token to log in with (default $"+cijob.VarIDTokenVariable+", else the job token)")
	f.StringVar(&o.context, "context", "",
		"the context to be current (default $"+cijob.VarContext+", else that of the only agent, or the cluster's name)")
	f.StringVarP(&o.namespace, "namespace", "n", "", "the contexts' namespace (default $"+cijob.VarNamespace+", else the agent's default_namespace)")
	f.StringVar(&o.outputFile, "output-file", "",
		"where to write, or - for standard output, which then shows the token (default $"+cijob.VarKubeconfig+")")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long GitLab may take")
	return cmd
}

// addCA adds --ca, and kubectl's name for it.
func addCA(f *pflag.FlagSet, value *string, usage string) {
	f.StringVar(value, "ca", "", usage)
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "certificate-authority" {
			name = "ca"
		}
		return pflag.NormalizedName(name)
	})
}

func (o *kubeconfigOptions) run(ctx context.Context, v cijob.Variables, stdout, notes io.Writer) error {
	if err := o.complete(v); err != nil {
		return err
	}
	target, err := o.target(v)
	if err != nil {
		return err
	}
	files := filepath.SplitList(v(cijob.VarKubeconfig))
	output, err := o.output(files)
	if err != nil {
		return err
	}
	config, err := base(output, files)
	if err != nil {
		return err
	}
	pointed, err := o.point(ctx, v, config, target)
	if err != nil {
		return err
	}
	if output == stdoutFile {
		return encode(stdout, config)
	}
	if err := cijob.Write(output, config); err != nil {
		return fmt.Errorf("%w; name another file with --output-file", err)
	}
	if len(files) != 1 || files[0] != output {
		fmt.Fprintf(stdout, "export %s=%s\n", cijob.VarKubeconfig, quoteForShell(output))
	}
	report(notes, output, target, pointed)
	return nil
}

// output is where to write. A command cannot change its shell's KUBECONFIG, so the default is the file that kubectl reads.
func (o *kubeconfigOptions) output(files []string) (string, error) {
	switch {
	case o.outputFile != "":
		return o.outputFile, nil
	case len(files) == 1:
		return files[0], nil
	case len(files) > 1:
		return "", fmt.Errorf("%s names %d files: name the one to write with --output-file", cijob.VarKubeconfig, len(files))
	default:
		return "", fmt.Errorf("%[1]s is not set, so kubectl would not find the file: put "+
			"export %[1]s=\"$CI_PROJECT_DIR.tmp/kubeconfig\" before this command", cijob.VarKubeconfig)
	}
}

// base is what is there already: the output file first, which may hold contexts of another cluster from an earlier run,
// then GitLab's.
func base(output string, files []string) (*clientcmdapi.Config, error) {
	if output != stdoutFile {
		files = append([]string{output}, files...)
	}
	config, err := cijob.Load(files...)
	if errors.Is(err, cijob.ErrNoKubeconfig) {
		err = nil
	}
	return config, err
}

// point changes the configuration: for a cluster by its name, or for the agents that GitLab lists.
func (o *kubeconfigOptions) point(
	ctx context.Context, v cijob.Variables, config *clientcmdapi.Config, target cijob.Target,
) (cijob.Pointed, error) {
	if o.cluster != "" {
		presented, err := o.credential(v)
		if err != nil {
			return cijob.Pointed{}, err
		}
		return cijob.PointAtCluster(config, o.cluster, presented, target), nil
	}
	job, err := cijob.Read(v)
	if err != nil {
		return cijob.Pointed{}, err
	}
	reply, err := o.ask(ctx, job)
	if err != nil {
		return cijob.Pointed{}, err
	}
	pointed, err := cijob.Point(config, reply.Agents, job.Token, target)
	if err != nil {
		return pointed, fmt.Errorf("job %d of project %d: %w", reply.JobID, reply.ProjectID, err)
	}
	return pointed, nil
}

func (o *kubeconfigOptions) ask(ctx context.Context, ci cijob.Job) (*gitlab.AllowedAgents, error) {
	if _, err := ci.Token.Check(time.Now()); err != nil {
		return nil, fmt.Errorf("%s: %w", cijob.VarJobToken, err)
	}
	client, err := ci.Client("jobgate/"+versionText(), o.timeout)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	reply, err := client.AllowedAgents(ctx, ci.Token.Text(), job.Logins)
	var rejected *job.RejectedError
	switch {
	case errors.As(err, &rejected):
		return nil, fmt.Errorf("ask GitLab which agents the job may use: GitLab refused the job token, as it does when the job has ended: %w", err)
	case err != nil:
		return nil, fmt.Errorf("ask GitLab which agents the job may use: %w", err)
	}
	return reply, nil
}

func encode(w io.Writer, config *clientcmdapi.Config) error {
	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// report says in the job's log what has changed.
func report(w io.Writer, file string, t cijob.Target, p cijob.Pointed) {
	for _, c := range p.Contexts {
		if c.AgentID == 0 {
			fmt.Fprintf(w, "context %s (without an agent) in %s points at %s\n", printable(c.Name), file, t.Server)
			continue
		}
		fmt.Fprintf(w, "context %s (agent %d) in %s points at %s\n", printable(c.Name), c.AgentID, file, t.Server)
		if c.Generated {
			fmt.Fprintf(w, "  GitLab's kubeconfig has no name for agent %[1]d; name it with --agent=%[1]d=CONTEXT\n", c.AgentID)
		}
	}
	if p.Current == "" {
		fmt.Fprintf(w, "no context is current; choose one with --context, %s or kubectl config use-context\n", cijob.VarContext)
		return
	}
	fmt.Fprintf(w, "the current context is %s\n", printable(p.Current))
}

// printable makes a name from elsewhere safe for a job's log.
func printable(name string) string { return policy.Printable(name, maxName) }

// quoteForShell makes one word of any text.
func quoteForShell(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
