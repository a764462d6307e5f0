package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/rule"
)

// maxName bounds what is shown of a name, in characters. GitLab's longest full path is below it.
const maxName = 1024

// stdoutFile is the name of an output file that stands for standard output.
const stdoutFile = "-"

type kubeconfigOptions struct {
	server, caFile string
	agents         []string
	context        string
	namespace      string
	outputFile     string
	timeout        time.Duration
}

const kubeconfigLong = `Make the job's kubeconfig point at the API server itself. Run it in a job's script, before kubectl.

GitLab is asked which agents the job may use. The context of each, as GitLab's kubeconfig names it, gets a cluster of its
own with the API server's address; an agent stands for one cluster, so where a job has agents of several, name this
cluster's with --agent. Everything else in the file stays as it is. The file is replaced as a whole, and only its owner
may read it.

GitLab tells the name of an agent only in the kubeconfig that it puts into jobs. Where that is missing, because GitLab's
agent server (KAS) is off, a context is called <config project>:agent-<id>; --agent ID=CONTEXT gives it another name.

The exit status is 0, or 1 with the reason on standard error. "jobgate doctor" says more.`

const kubeconfigExample = `  # in .gitlab-ci.yml, with the CI/CD variables JOBGATE_URL and JOBGATE_CA_FILE (type file) set
  script:
    - jobgate kubeconfig --agent=path/to/agent/project:agent-name
    - kubectl apply -f deployment.yaml

  # where GitLab sets no KUBECONFIG
  script:
    - export KUBECONFIG="$CI_PROJECT_DIR.tmp/kubeconfig"
    - jobgate kubeconfig --agent=4=path/to/agent/project:agent-name`

func newKubeconfigCommand() *cobra.Command {
	o := kubeconfigOptions{}
	cmd := &cobra.Command{
		Use:     "kubeconfig [--server URL] [--agent ID|CONTEXT|ID=CONTEXT]...",
		Short:   "In a CI job: make the kubeconfig point at the API server itself",
		Long:    kubeconfigLong,
		Example: kubeconfigExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), os.Getenv, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "", "the API server's URL (default $"+cijob.VarURL+")")
	f.StringVar(&o.caFile, "certificate-authority", "",
		"a file with its CA, which is copied into the kubeconfig (default $"+cijob.VarCAFile+", else the system's CAs)")
	f.StringSliceVar(&o.agents, "agent", nil,
		"an agent of this cluster, as ID, CONTEXT or ID=CONTEXT; may be repeated (default all)")
	f.StringVar(&o.context, "context", "",
		"the context to be current (default $"+cijob.VarContext+", else that of the only agent)")
	f.StringVarP(&o.namespace, "namespace", "n", "", "the contexts' namespace (default the agent's default_namespace)")
	f.StringVarP(&o.outputFile, "output-file", "o", "",
		"where to write, or - for standard output, which then shows the token (default $"+cijob.VarKubeconfig+")")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long GitLab may take")
	return cmd
}

func (o *kubeconfigOptions) run(ctx context.Context, v cijob.Variables, stdout, notes io.Writer) error {
	job, err := cijob.Read(v)
	if err != nil {
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
	reply, err := o.ask(ctx, job)
	if err != nil {
		return err
	}
	pointed, err := cijob.Point(config, reply.Agents, job.Token, target)
	if err != nil {
		return fmt.Errorf("job %d of project %d: %w", reply.JobID, reply.ProjectID, err)
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

// target is what the flags say, and the job's variables where they say nothing.
func (o *kubeconfigOptions) target(v cijob.Variables) (cijob.Target, error) {
	t := cijob.Target{Context: cmp.Or(o.context, v(cijob.VarContext)), Namespace: o.namespace}
	var err error
	if t.Server, err = cijob.ServerURL(o.server, v); err != nil {
		return t, err
	}
	if ca := cmp.Or(o.caFile, v(cijob.VarCAFile)); ca != "" {
		if t.CA, err = cijob.ReadCA(ca); err != nil {
			return t, fmt.Errorf("read the API server's CA (--certificate-authority or %s): %w", cijob.VarCAFile, err)
		}
	}
	for _, text := range o.agents {
		wanted, err := cijob.ParseWanted(text)
		if err != nil {
			return t, fmt.Errorf("--agent: %w", err)
		}
		t.Agents = append(t.Agents, wanted)
	}
	return t, nil
}

// output is where to write. A child cannot change its shell's KUBECONFIG, so the file that kubectl will read anyway is
// the only good default.
func (o *kubeconfigOptions) output(files []string) (string, error) {
	switch {
	case o.outputFile != "":
		return o.outputFile, nil
	case len(files) == 1:
		return files[0], nil
	case len(files) > 1:
		return "", fmt.Errorf("%s names %d files: say with --output-file which one to write", cijob.VarKubeconfig, len(files))
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

func (o *kubeconfigOptions) ask(ctx context.Context, job cijob.Job) (*gitlab.AllowedAgents, error) {
	// Any agent will do: the grammar is that of the job's token.
	if _, err := cijob.ParseCredential(job.Token.Credential(1)); err != nil {
		return nil, err
	}
	client, err := job.Client("jobgate/"+versionText(), o.timeout)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	reply, err := client.AllowedAgents(ctx, job.Token.Text(), gitlab.Login)
	if err != nil {
		return nil, fmt.Errorf("learn which agents the job may use: %w", err)
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

// report says what has changed, in the job's log.
func report(w io.Writer, file string, t cijob.Target, p cijob.Pointed) {
	for _, c := range p.Contexts {
		fmt.Fprintf(w, "context %s (agent %d) in %s points at %s\n", printable(c.Name), c.AgentID, file, t.Server)
		if c.Invented {
			fmt.Fprintf(w, "  GitLab's kubeconfig does not name agent %[1]d; name it with --agent=%[1]d=CONTEXT\n", c.AgentID)
		}
	}
	if p.Current == "" {
		fmt.Fprintln(w, "no context is current; choose one with --context, JOBGATE_CONTEXT or kubectl config use-context")
		return
	}
	fmt.Fprintf(w, "the current context is %s\n", printable(p.Current))
}

// printable makes a name that others chose safe for a job's log.
func printable(name string) string { return rule.Printable(name, maxName) }

// quoteForShell makes one word of any text.
func quoteForShell(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
